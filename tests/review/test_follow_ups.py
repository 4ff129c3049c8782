"""Follow-ups are shown on one grid, where their stored alignment puts them, and say what is not shown."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from review_server import Browser, Served, make_edit, serve, wait_for

from angio_pipeline import ingest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(followed: tuple[Path, Path]) -> Iterator[Served]:
    with serve(followed[0], "--source", followed[1]) as found:
        yield found


@pytest.fixture(scope="module")
def reader(served: Served) -> Browser:
    return served.browser()


@pytest.fixture(scope="module")
def case(reader: Browser) -> str:
    (row,) = reader.cases(kind="follow_up")
    return str(row["id"])


@pytest.fixture(scope="module")
def told(reader: Browser, case: str) -> dict:
    return wait_for(lambda: (found := reader.told(f"/follow-ups/{case}"))["state"] == "ready" and found)


def volume(reader: Browser, case: str, scan: int, shape: list[int]) -> np.ndarray:
    planes = []
    for z in range(shape[0]):
        answer = reader.get(f"/follow-ups/{case}/scans/{scan}/axial/{z}", raw=True)
        stored = np.frombuffer(answer.content, "<u2").reshape(shape[1:])
        planes.append(stored * float(answer.headers["X-Slope"]) + float(answer.headers["X-Intercept"]))
    return np.stack(planes)


def test_documents_and_dates_come_as_written(told: dict, followed: tuple[Path, Path]) -> None:
    (path,) = followed[0].rglob("lipiodol.json")
    assert told["lipiodol"] == json.loads(path.read_text())
    days = [scan["days"] for scan in told["scans"]]
    assert len(days) == 2
    assert days == sorted(days)
    assert {"L1", "L2"} <= set(told["scans"][0]["deposits"])
    shown = [scan["alignment"]["shown"] for scan in told["scans"]]
    assert sorted(shown) == ["reference", "rigid"]


def test_the_reference_scan_is_shown_as_it_is_stored(
    reader: Browser, case: str, told: dict, followed: tuple[Path, Path], tmp_path: Path
) -> None:
    (index,) = (scan["index"] for scan in told["scans"] if scan["alignment"]["shown"] == "reference")
    uid = told["scans"][index]["series_instance_uid"]
    found = ingest.discover([followed[1]], workspace=tmp_path)
    scan = ingest.read_volume(next(item for item in found.volumes if item.source.series_instance_uid == uid))
    assert tuple(told["shape"]) == scan.hu.shape
    assert np.allclose(told["affine"], scan.affine)
    assert np.abs(volume(reader, case, index, told["shape"]) - scan.hu).max() <= 0.5


def test_the_other_scan_lies_nearer_to_the_reference_than_where_the_table_put_it(
    reader: Browser, case: str, told: dict, followed: tuple[Path, Path], tmp_path: Path
) -> None:
    from angio_pipeline.numerics import volumes as space

    reference, other = sorted(told["scans"], key=lambda scan: scan["alignment"]["shown"] != "reference")
    found = ingest.discover([followed[1]], workspace=tmp_path)
    items = {item.source.series_instance_uid: item for item in found.volumes}
    scan = ingest.read_volume(items[other["series_instance_uid"]])
    shape, affine = tuple(told["shape"]), np.array(told["affine"])
    still = volume(reader, case, reference["index"], told["shape"])
    aligned = volume(reader, case, other["index"], told["shape"])
    table = space.resample(scan.hu, scan.affine, shape, affine, fill=-1024.0)
    inner = tuple(slice(n // 4, -(n // 4)) for n in shape)
    gaps = [
        np.abs(np.clip(one[inner], -100, 200) - np.clip(still[inner], -100, 200)).mean() for one in (aligned, table)
    ]
    assert gaps[0] < gaps[1]


def test_planes_are_cuts_of_one_volume(reader: Browser, case: str, told: dict) -> None:
    index = told["scans"][0]["index"]
    whole = volume(reader, case, index, told["shape"])
    z, y, x = (n // 2 for n in told["shape"])
    for plane, position, expected in (("coronal", y, whole[:, y]), ("sagittal", x, whole[:, :, x])):
        answer = reader.get(f"/follow-ups/{case}/scans/{index}/{plane}/{position}", raw=True)
        stored = np.frombuffer(answer.content, "<u2").reshape(expected.shape)
        assert np.array_equal(stored - 2048.0, expected)
    assert reader.get(f"/follow-ups/{case}/scans/{index}/axial/{told['shape'][0]}").status_code == 404
    shown = reader.get(f"/follow-ups/{case}/scans/{index}/axial/{z}", center=50, width=400)
    assert cv2.imdecode(np.frombuffer(shown.content, np.uint8), 0).shape == tuple(told["shape"][1:])


def test_contours_run_around_the_oil(reader: Browser, case: str, told: dict) -> None:
    index = told["scans"][0]["index"]
    whole = volume(reader, case, index, told["shape"])
    bright = []
    for z in range(told["shape"][0]):
        found = reader.told(f"/follow-ups/{case}/scans/{index}/axial/{z}/contours")["contours"]
        for line in found.get("L1", []):
            rows, cols = np.array(line).T
            bright.append(whole[z, int(rows.mean()), int(cols.mean())])
    assert bright
    assert np.median(bright) > 150


def test_stored_pictures_are_there_without_the_sources(followed: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(followed[0], out, ignore=shutil.ignore_patterns("review"))
    with serve(out) as alone:
        reader = alone.browser()
        (row,) = reader.cases(kind="follow_up")
        told = reader.told(f"/follow-ups/{row['id']}")
        assert told["state"] == "unavailable"
        assert "stored pictures" in told["sentence"]
        assert {scan["alignment"]["shown"] for scan in told["scans"]} == {"none"}
        numbers = {n for scan in told["scans"] for n in (*scan["slice_views"].values(), *scan["alignment"]["views"])}
        assert len(numbers) >= 5
        for number in numbers:
            answer = reader.get(f"/follow-ups/{row['id']}/views/{number}")
            assert cv2.imdecode(np.frombuffer(answer.content, np.uint8), 1) is not None
        assert reader.get(f"/follow-ups/{row['id']}/views/{max(numbers) + 1}").status_code == 404


def test_a_lesion_outlined_by_hand_is_measured_anew(reader: Browser, case: str, told: dict, tmp_path: Path) -> None:
    index = next(s["index"] for s in told["scans"] if s["alignment"]["shown"] == "reference")
    lines = {}
    for z in range(told["shape"][0]):
        found = reader.told(f"/follow-ups/{case}/scans/{index}/axial/{z}/contours")["contours"].get("L1", [])
        if found:
            lines[z] = [line for line in found if len(line) >= 3]
    planes = [{"z": z, "polygons": polygons} for z, polygons in lines.items() if polygons]
    assert planes
    edit = make_edit(1, "redraw_lesion", lesion="L1", planes=planes)
    answer = reader.edit(case, 0, **edit)
    assert answer.status_code == 201, answer.text
    with zipfile.ZipFile(io.BytesIO(reader.get(f"/cases/{case}/regions.zip").content)) as archive:
        archive.extractall(tmp_path)
    (roi,) = ingest.read_rois([tmp_path / "L1.nii.gz"]).volumes
    assert roi.id == "L1"
    assert roi.mask.shape == tuple(told["shape"])
    assert np.allclose(roi.affine, told["affine"], atol=1e-3)
    assert sorted(set(np.nonzero(roi.mask)[0].tolist())) == sorted(plane["z"] for plane in planes)
    job = reader.analysed_again(case)
    assert job["state"] == "done", job
    mine = reader.told(f"/follow-ups/{case}", result="mine")["lipiodol"]
    volumes = {
        which: {lesion["id"]: lesion["timepoints"][0]["coverage"] for lesion in document["lesions"]}
        for which, document in (("before", told["lipiodol"]), ("after", mine))
    }
    assert set(volumes["after"]) == {"L1", "L2"}
    # Outlined where the oil is, the lesion is covered by more of it than it was.
    assert volumes["after"]["L1"]["160"] > volumes["before"]["L1"]["160"]
    assert volumes["after"]["L2"] == volumes["before"]["L2"]
    assert reader.told(f"/follow-ups/{case}")["lipiodol"] == told["lipiodol"]
