"""Whatever is sent as the API's own description has it is answered, and never by a failure of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from review_server import Browser, Served, make_edit

pytestmark = pytest.mark.slow

ENDING = {("/api/session", "DELETE"), ("/api/cases/{case}/reanalysis", "POST")}
"""These would end the session, or take minutes: they are asked without the token that they need."""
BOUNDED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def ask_of(ask: Callable[..., None]) -> Callable[..., None]:
    """A function of its own for each operation, as examples are bounded by function."""

    def asked(case: Any, of_what_is_there: bool) -> None:
        ask(case, of_what_is_there=of_what_is_there)

    return asked


def placed(body: Any) -> Any:
    """The edit with a point wherever it needs one place or another, which the description cannot say."""
    if not isinstance(body, dict) or not isinstance(body.get("edit"), dict):
        return body
    edit = body["edit"]
    places = {name: {"point": [70.0, 70.0], **edit[name]} for name in ("tumour", "feeder") if name in edit}
    return {**body, "edit": {**edit, **places}}


@pytest.fixture(scope="module")
def description(shared: Served) -> Any:
    return schemathesis.openapi.from_url(f"{shared.address}/api/openapi.json")


@pytest.fixture(scope="module")
def writer(shared: Served) -> Browser:
    """A reader of this test's own, with something to be undone."""
    browser = shared.browser("Reader 9")
    (row,) = browser.cases()
    browser.frames(row["id"])
    for number in range(3):
        browser.edit(row["id"], number, **make_edit(number))
    return browser


def test_no_request_ends_in_a_failure_of_the_server(description: Any, writer: Browser, results: Any) -> None:
    known = {"case": writer.cases()[0]["id"], "subject": results.run.parents[1].name}
    statuses: Counter[int] = Counter()

    def ask(case: Any, *, of_what_is_there: bool) -> None:
        if of_what_is_there:  # else hardly a request would get past the look-up
            there = {name: value for name, value in known.items() if f"{{{name}}}" in case.path}
            case.path_parameters = {**(case.path_parameters or {}), **there}
            case.body = placed(case.body)
        headers = {name.lower(): value for name, value in (case.headers or {}).items()}
        headers["x-csrf-token"] = "" if (case.path, case.method.upper()) in ENDING else writer.csrf
        if of_what_is_there and case.method.upper() != "GET":
            headers["if-match"] = f'"{writer.corrections(known["case"])["revision"]}"'
        answer = case.call(headers=headers, cookies=dict(writer.client.cookies))
        assert answer.status_code < 500, case.as_curl_command()
        statuses[answer.status_code] += 1
        if answer.status_code >= 400 and answer.headers.get("content-type") == ["application/json"]:
            assert set(answer.json()) == {"code", "sentence"}

    operations = [found.ok() for found in description.get_all_operations()]
    for operation in operations:
        # An edit is of ten kinds.
        bounded = settings(BOUNDED, max_examples=80 if operation.path.endswith("/edits") else 10)
        given(case=operation.as_strategy(), of_what_is_there=st.booleans())(bounded(ask_of(ask)))()
    assert len(operations) > 35
    assert statuses[200] > 20
    assert statuses[201] > 0, statuses


def test_every_answer_of_the_description_is_a_model_of_its_own(description: Any) -> None:
    paths = description.raw_schema["paths"]
    plain = [
        (path, method)
        for path, methods in paths.items()
        for method, told in methods.items()
        for status, answer in told["responses"].items()
        if status in ("200", "201", "202")
        for kind, content in answer.get("content", {}).items()
        if kind == "application/json" and "$ref" not in content.get("schema", {})
    ]
    assert {path.rsplit("/", 1)[1] for path, _ in plain} == {"analysis", "graph", "curves"}
