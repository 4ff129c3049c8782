from __future__ import annotations

import base64
import csv
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import Refusal
from angio_pipeline.outputs import (
    clear_results,
    write_follow_up,
    write_index,
    write_record,
    write_refused,
    write_report,
    write_run,
    write_tables,
)
from angio_pipeline.outputs.charts import Band, Series, line_chart
from angio_pipeline.outputs.pages import interval_words

pytestmark = pytest.mark.slow

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Page(HTMLParser):
    """Tags with their attributes, and the text outside style and script."""

    def __init__(self, path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def out(run_maker, follow_up_maker, tmp_path_factory):
    path = tmp_path_factory.mktemp("out")
    subject = path / "subjects" / "S-1"
    write_run(run_maker(file=HOSTILE), subject / "20240311" / "a")
    write_run(run_maker(tumour=False, quality=Quality.TIMES_UNKNOWN, spacing=None), subject / "20240311" / "b")
    follow_up = follow_up_maker()
    named = replace(follow_up, lesions=(replace(follow_up.lesions[0], id=HOSTILE),))
    write_follow_up(named, subject, folder_of=lambda s: f"{s.date}/{s.series_instance_uid}")
    write_report(subject)
    write_refused(path, [Refusal(HOSTILE, "not_dicom", "Expected DICOM, found text.")])
    write_tables(path)
    write_index(path)
    return path


@pytest.fixture(scope="module")
def report(out):
    return Page(out / "subjects" / "S-1" / "report.html")


@pytest.fixture(scope="module")
def index(out):
    return Page(out / "index.html")


@pytest.fixture(params=["report", "index"])
def page(request):
    return request.getfixturevalue(request.param)


def test_every_address_is_relative_or_data(page):
    addresses = [a[key] for _, a in page.tags for key in ("href", "src", "srcset", "action", "data") if key in a]
    assert addresses
    for address in addresses:
        assert address.startswith("data:") or not re.match(r"[a-z]+:|/", address), address
    assert "@import" not in page.source
    assert "url(" not in page.source


def test_every_relative_address_leads_to_a_file(out, page):
    folder = out if "Not analysed" in page.text else out / "subjects" / "S-1"
    for tag, key in (("a", "href"), ("img", "src")):
        for attributes in page.all(tag):
            address = attributes[key]
            if not address.startswith(("data:", "#")):
                assert (folder / address).is_file(), address
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")} <= ids


def test_hostile_names_are_shown_and_not_run(page):
    assert HOSTILE in page.text
    assert len(page.all("script")) == 1
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert not [a for a in page.all("img") if a["src"] == "x"]


def test_the_policy_admits_this_style_and_this_script_only(page):
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        inline = re.search(rf"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [a for _, a in page.tags if "style" in a]


def test_pictures_and_tables_can_be_read_aloud(page):
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("scope") in ("row", "col") for a in page.all("th"))
    assert page.all("html")[0]["lang"] == "en"


def test_each_page_says_that_it_is_research(page):
    assert "Research software, not a medical device" in page.text


def test_the_report_tells_what_was_measured(report):
    for words in ("T1-F1", "0.93", "overlap: cannot decide", "RAO 30° CRA 10°", "without contrast, made the mask"):
        assert words in report.text
    assert "half-life 36 days (29–47 days)" in report.text


def test_the_report_lists_the_main_branches_with_velocity_and_interval(report, out):
    with (out / "subjects/S-1/20240311/a/branches.csv").open(newline="") as stream:
        first = next(row for row in csv.DictReader(stream) if row["number"] == "1")
    velocity, low, high = (float(first[f"velocity_{part}mm_s"]) for part in ("", "low_", "high_"))
    assert f"{velocity:.0f} ({low:.0f}–{high:.0f}) mm/s" in report.text
    assert "Of 13 branches 12 have a velocity (1 too short, too fast or too faint for these frames)." in report.text
    assert "in a run that does not tell when contrast comes" in report.text


def test_the_liver_is_told_beside_the_lesions_and_is_none_of_them(report):
    assert {"id": "liver"} in report.all("h3")
    anchors = [tag["id"] for tag in report.all("h3") if (tag.get("id") or "").startswith("lesion-")]
    assert anchors == ["lesion-1"]
    assert "The liver beside the lesions" in report.text


def test_the_report_says_that_tumours_and_lesions_are_counted_separately(report):
    assert "Tumours of the angiograms (T1" in report.text
    assert "are counted separately" in report.text


def test_the_limit_of_films_stands_beside_their_numbers(report):
    assert report.text.count("barely better than chance (Az 0.54") >= 2


def test_a_run_without_times_has_a_frame_axis(report):
    assert "frame (the file gives no times)" in report.text
    assert "time since the first frame, s" in report.text


def test_the_worklist_lists_patients_and_refused_inputs(index):
    assert "1 patient, 2 runs analysed, 1 lesion followed, 1 input refused" in index.text
    assert "Expected DICOM, found text." in index.text


def test_a_failed_run_is_in_the_report_with_its_reason(tmp_path, run_maker):
    subject = tmp_path / "subjects" / "S-2"
    write_run(run_maker(), subject / "20240101" / "good")
    write_record(subject / "20240101" / "failed", {"sentence": "Expected two frames, found one."})
    (subject / "20240101" / "broken").mkdir()
    (subject / "20240101" / "broken" / "analysis.json").write_text('{"schema": "angio-pip')
    (subject / "lipiodol.json").write_text("[]")
    page = Page(write_report(subject))
    assert "Expected two frames, found one." in page.text
    assert "analysis.json is there but does not follow the schema" in page.text
    assert "lipiodol.json is there but does not follow the schema" in page.text
    assert "3 angiographic runs" in page.text
    assert "T1-F1" in page.text
    assert "1 run analysed, 2 failed" in Page(write_index(tmp_path)).text


def test_missing_and_spoilt_pictures_leave_a_sentence(tmp_path, run_maker):
    folder = tmp_path / "S-3" / "20240101" / "a"
    write_run(run_maker(), folder)
    (folder / "overlay.png").write_bytes(b"not a picture")
    (folder / "before.png").write_bytes(b"")
    (folder / "curves.json").unlink()
    page = Page(write_report(tmp_path / "S-3"))
    assert "The picture of this run is missing" in page.text
    assert "T1-F1" in page.text


def test_an_empty_subject_and_an_empty_folder_have_pages(tmp_path):
    (tmp_path / "subjects" / "S-4").mkdir(parents=True)
    assert "Nothing could be analysed" in Page(write_report(tmp_path / "subjects" / "S-4")).text
    assert "Every input was analysed" in Page(write_index(tmp_path)).text
    assert "Nothing was analysed." in Page(write_index(tmp_path / "new")).text


def test_a_chart_lifts_its_pen_over_a_missing_value():
    chart = line_chart(
        [Series("<a>", [0, 1, 2, 3], [1.0, None, 2.0, 3.0], "s0")],
        x_label="x",
        y_label="y",
        title="t",
        bands=[Band("<b>", 0, 2)],
    )
    path = re.search(r'class="line s0" d="([^"]*)"', chart).group(1)
    assert path.count("M") == 2
    assert path.count("L") == 1
    assert "<a>" not in chart
    assert "&lt;b&gt;" in chart


def test_a_chart_of_nothing_is_no_chart():
    assert line_chart([Series("a", [0.0], [None], "s0")], x_label="x", y_label="y", title="t") is None


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0, 5.0], [-1.0, 3.0], [1e-9, 2e-9]])
def test_a_chart_stays_inside_its_frame(values):
    chart = line_chart([Series("a", [1.0, 1.0], values, "s0", points=True)], x_label="x", y_label="y", title="t")
    heights = [float(y) for y in re.findall(r'cy="([-\d.]+)"', chart)]
    assert all(0 <= y <= 270 for y in heights)


@pytest.mark.parametrize(
    ("pair", "words"),
    [((1.0, 2.0), " (1–2 days)"), ((1.0, None), " (longer than 1 days)"), ((None, None), ""), (None, "")],
)
def test_an_open_interval_says_so(pair, words):
    assert interval_words(pair, 0, 1.0, " days") == words


def failed(folder, sentence):
    clear_results(folder)
    write_record(folder, {"digest": None, "reason": "out_of_memory", "sentence": sentence})


def test_what_failed_this_time_is_not_shown_from_last_time(tmp_path, run_maker, follow_up_maker):
    subject = tmp_path / "subjects" / "S-4"
    write_run(run_maker(), subject / "20240101" / "a")
    write_run(run_maker(seed=2), subject / "20240101" / "b")
    write_follow_up(follow_up_maker(), subject, folder_of=lambda s: f"{s.date}/{s.series_instance_uid}")
    failed(subject / "20240101" / "a", "Expected the input to fit in memory.")
    failed(subject, "Expected scans that can be read.")
    assert [p.name for p in (subject / "20240101" / "a").iterdir()] == ["record.json"]
    assert not [*subject.glob("lipiodol.json"), *subject.rglob("deposit-*"), *subject.rglob("slice-*")]
    page, index = Page(write_report(subject)), Page(write_index(tmp_path))
    assert "Expected the input to fit in memory." in page.text
    assert "Follow-up not analysed: Expected scans that can be read." in page.text
    assert "T1-F1" in page.text  # the other run stays
    assert "1 run analysed, 1 failed, 0 lesions followed" in index.text
    assert index.text.count("not analysed") == 2
    write_tables(tmp_path)
    table = (tmp_path / "runs.csv").read_text().splitlines()
    analysed = table[0].split(",").index("analysed")
    assert [line.split(",")[analysed] for line in table[1:]] == ["false", "true"]


def test_a_record_of_failure_outweighs_results_left_beside_it(tmp_path, run_maker):
    folder = tmp_path / "subjects" / "S-5" / "20240101" / "a"
    write_run(run_maker(), folder)
    write_record(folder, {"reason": "worker_died", "sentence": "Expected the worker to live."})
    page, index = Page(write_report(folder.parents[1])), Page(write_index(tmp_path))
    assert "Expected the worker to live." in page.text
    assert "T1-F1" not in page.text
    assert "0 runs analysed, 1 failed" in index.text
    assert not index.all("img")


def test_the_worklist_tells_a_refused_input_by_its_line_where_its_path_could_be_a_name(tmp_path):
    (tmp_path / "subjects").mkdir()
    refusals = [
        Refusal("in/Doe Jane/letter.pdf", "not_dicom", "Expected DICOM."),
        Refusal("in/Doe/IM_1.dcm", "x", "E."),
    ]
    write_refused(tmp_path, refusals)
    text = write_index(tmp_path).read_text(encoding="utf-8")
    assert "Doe" not in text
    assert "line 2 of refused.csv" in text
    assert "IM_1.dcm" in text
