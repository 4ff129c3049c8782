"""The worklist holds thousands of cases, finds what changed, and forgets what went."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from review_server import fill_worklist, serve

from angio_pipeline.evaluate.answers import find_runs
from angio_pipeline.review.index import CaseIndex, case_id

COUNT = 5000


@pytest.fixture(scope="module")
def large(results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("large") / "out"
    fill_worklist(out, results.run, COUNT)
    return out


@pytest.mark.slow
def test_five_thousand_cases_fit_a_page_in_a_second_and_the_server_in_300_mb(large: Path) -> None:
    psutil = pytest.importorskip("psutil")
    with serve(large) as served:
        reader = served.browser()
        assert len(reader.cases()) == 200
        queries = [
            {"sort": "date", "descending": True, "offset": 2500},
            {"q": "P0006", "flag": "MOTION_LARGE"},
            {"state": "new", "sort": "flags"},
            {"first_date": "20240601", "last_date": "20240731"},
        ]
        times = []
        for query in queries:
            begun = time.perf_counter()
            assert reader.told("/worklist", **query)["total"] > 0
            times.append(time.perf_counter() - begun)
        assert reader.told("/worklist/facets")["subjects"] == COUNT // 4
        assert sorted(times)[len(times) // 2] <= 1.0
        assert psutil.Process(served.pid).memory_info().rss <= 300e6


@pytest.mark.slow
def test_pages_join_to_the_whole_list_without_a_case_twice(large: Path, tmp_path: Path) -> None:
    with serve(large) as served:
        reader = served.browser()
        reader.cases()
        pages = [reader.told("/worklist", offset=k, limit=200, sort="date")["cases"] for k in range(0, COUNT, 200)]
        rows = [row for page in pages for row in page]
        assert len({row["id"] for row in rows}) == len(rows) == COUNT
        assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)


def indexed(out: Path, kept: Path) -> CaseIndex:
    index = CaseIndex(out, kept, refresh_s=0.0)
    index.refresh()
    return index


@pytest.fixture
def small(results, tmp_path: Path) -> Path:
    fill_worklist(tmp_path / "out", results.run, 8)
    return tmp_path / "out"


def test_what_is_kept_from_the_last_start_is_not_read_again(small: Path, tmp_path: Path) -> None:
    first = indexed(small, tmp_path / "kept.json").entries()
    for path in small.rglob("analysis.json"):
        stamp = path.parent.stat()
        path.write_text("spoiled")  # in place: the folder keeps its time
        os.utime(path.parent, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert indexed(small, tmp_path / "kept.json").entries() == first
    (tmp_path / "kept.json").write_text("{}")
    assert not any(one.analysed for one in indexed(small, tmp_path / "kept.json").entries())


def test_what_a_reader_had_analysed_is_not_taken_for_the_result(small: Path) -> None:
    path = sorted(small.rglob("analysis.json"))[0]
    uid = json.loads(path.read_text())["source"]["sop_instance_uid"]
    shutil.copytree(path.parent, small / "review" / "results" / "r0" / path.parent.relative_to(small))
    found = find_runs(small, [])
    assert found[uid][1] == path.parent
    assert len(found) == 8


def test_a_case_that_goes_is_forgotten_and_one_that_comes_is_found(small: Path, tmp_path: Path) -> None:
    index = indexed(small, tmp_path / "kept.json")
    before = {one.id for one in index.entries()}
    gone = sorted(small.glob("subjects/*/*/*"))[3]
    shutil.move(gone, tmp_path / "elsewhere")
    assert len(index.entries()) == 7
    shutil.copytree(tmp_path / "elsewhere", gone.with_name("S999-new"))
    after = {one.id for one in index.entries()}
    assert len(after) == 8
    assert after - before == {case_id(gone.with_name("S999-new").relative_to(small).as_posix())}


@pytest.mark.parametrize("content", ["", "[]", '{"source": 1}', '{"source": {}, "tumours": [1], "quality": []}', "{"])
def test_one_damaged_case_costs_no_other(small: Path, tmp_path: Path, content: str) -> None:
    path = sorted(small.rglob("analysis.json"))[0]
    path.unlink()  # it is a file of this test's own, but its neighbours are linked
    path.write_text(content)
    found = indexed(small, tmp_path / "kept.json").entries()
    assert [one.analysed for one in found].count(False) == 1
    assert len(found) == 8
