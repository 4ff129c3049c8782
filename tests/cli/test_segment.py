"""`angio segment`: each image has its mask or its reason, and no image loses its own to another."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from angio_pipeline.cli.main import main


@dataclass(frozen=True)
class Said:
    """What a command ended with."""

    status: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def segment(models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Return what runs `angio segment` in this process, with a small network called frame."""
    models.add("frame", offset=[-0.2])
    monkeypatch.setattr("angio_pipeline.networks.manifest.models_dir", lambda: models.folder)
    # Without OpenVINO, which takes a second to begin.
    monkeypatch.setitem(sys.modules, "openvino", None)
    threads = torch.get_num_threads()

    def run(*arguments: object) -> Said:
        words = ["angio", "segment", *map(str, arguments)]
        words += ["--threads", "1"] if "--threads" not in words else []
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    yield run
    torch.set_num_threads(threads)


def _image(folder: Path, name: str, rows: int = 48, columns: int = 60, *, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    anatomy = cv2.GaussianBlur(np.random.default_rng(seed).normal(128, 60, (rows, columns)), (0, 0), 1.5)
    anatomy[:, columns // 2 : columns // 2 + 3] -= 30
    assert cv2.imwrite(str(folder / name), np.clip(anatomy, 0, 255).astype(np.uint8))
    return folder / name


def _read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None, path
    return picture


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_image_gets_a_mask_a_probability_and_a_row(segment: Command, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    said = segment(_image(tmp_path / "in", "one.png"), "--out", out)
    assert (said.status, said.err) == (0, "")
    assert sorted(p.name for p in out.iterdir()) == ["one-probability.png", "one.png", "refused.csv", "segment.csv"]
    mask, probability = _read(out / "one.png"), _read(out / "one-probability.png")
    assert mask.shape == probability.shape == (48, 60)
    assert set(np.unique(mask)) <= {0, 255}
    assert probability.dtype == np.uint16
    np.testing.assert_array_equal(mask > 0, probability >= 32768)
    (row,) = _rows(out / "segment.csv")
    assert (row["name"], row["rows"], row["columns"], row["frame"]) == ("one", "48", "60", "")


def test_the_same_image_gets_the_same_files_twice(segment: Command, tmp_path: Path) -> None:
    image = _image(tmp_path / "in", "one.png")
    for name in ("a", "b"):
        segment(image, "--out", tmp_path / name)
    for file in ("one.png", "one-probability.png", "segment.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_what_cannot_be_read_is_named_while_its_neighbours_are_done(segment: Command, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "bad.png").parent.mkdir()
    (folder / "bad.png").write_text("not an image")
    (folder / "notes.txt").write_text("not an image either")
    images = [
        _image(folder, "first.png"),
        _image(folder, "tiny.png", 7, 7),
        folder / "bad.png",
        folder / "notes.txt",
        folder / "missing.tif",
        _image(folder, "last.tif"),
    ]
    said = segment(*images, "--out", out)
    assert said.status == 0
    assert [row["name"] for row in _rows(out / "segment.csv")] == ["first", "last"]
    refused = {row["path"]: row["reason"] for row in _rows(out / "refused.csv")}
    assert refused == {
        "tiny.png": "wrong_size",
        "bad.png": "unreadable",
        "notes.txt": "not_image",
        "missing.tif": "not_found",
    }
    assert "angio: tiny.png: Expected an image of one channel and at least 32 x 32 pixels, found (7, 7)." in said.err
    assert "Segmented 2, refused 4" in said.out
    assert not list(out.glob("tiny*"))


def test_when_no_image_could_be_done_the_status_is_1(segment: Command, tmp_path: Path) -> None:
    said = segment(_image(tmp_path / "in", "tiny.png", 7, 7), "--out", tmp_path / "out")
    assert said.status == 1
    assert _rows(tmp_path / "out" / "segment.csv") == []
    assert [row["path"] for row in _rows(tmp_path / "out" / "refused.csv")] == ["tiny.png"]


@pytest.mark.parametrize(
    "names",
    [
        ("a/one.png", "b/one.png"),
        ("a/one.png", "a/one.tif", "b/one.png"),
        ("a/one.png", "a/one-3.png", "b/one.png", "c/one.png"),
        ("a/one-2.png", "a/one.png", "b/one.png"),
        ("a/one.png", "a/one-probability.png"),
        ("a/one-probability.png", "a/one.png"),
    ],
)
def test_images_of_one_name_do_not_overwrite_each_other(
    segment: Command, tmp_path: Path, names: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    images = [_image((tmp_path / name).parent, Path(name).name, 40 + k, 50, seed=k) for k, name in enumerate(names)]
    assert segment(*images, "--out", out).status == 0
    rows = _rows(out / "segment.csv")
    assert len({row["name"] for row in rows}) == len(names)
    for k, row in enumerate(rows):
        assert _read(out / f"{row['name']}.png").shape == (40 + k, 50)
        assert _read(out / f"{row['name']}.png").dtype == np.uint8
        assert _read(out / f"{row['name']}-probability.png").dtype == np.uint16
    assert len(list(out.glob("*.png"))) == 2 * len(names)


def test_no_image_is_overwritten_by_its_own_mask(segment: Command, tmp_path: Path) -> None:
    image = _image(tmp_path / "in", "one.png")
    before = image.read_bytes()
    said = segment(image, "--out", tmp_path / "in")
    assert said.status == 2
    assert said.err.startswith("angio: Expected --out to be another folder")
    assert image.read_bytes() == before
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["one.png"]


def test_masks_may_lie_beside_images_that_bear_other_names(segment: Command, tmp_path: Path) -> None:
    image = _image(tmp_path / "in", "one.tif")
    before = image.read_bytes()
    assert segment(image, "--out", tmp_path / "in").status == 0
    assert image.read_bytes() == before


def test_of_a_run_the_row_tells_the_frame_from_1(segment: Command, sample: Path, tmp_path: Path) -> None:
    run = sample / "case-000" / "dicom" / "day000" / "post.dcm"
    assert segment(run, "--out", tmp_path / "out", "--frame", 2).status == 0
    (row,) = _rows(tmp_path / "out" / "segment.csv")
    assert (row["name"], row["frame"]) == ("post", "2")
    assert _read(tmp_path / "out" / "post.png").shape == (int(row["rows"]), int(row["columns"]))


def test_a_frame_that_a_run_does_not_have_is_refused(segment: Command, sample: Path, tmp_path: Path) -> None:
    run = sample / "case-000" / "dicom" / "day000" / "post.dcm"
    said = segment(run, "--out", tmp_path / "out", "--frame", 1000)
    assert said.status == 1
    assert "found 1000." in said.err
    assert [row["reason"] for row in _rows(tmp_path / "out" / "refused.csv")] == ["no_such_frame"]


def test_an_image_that_shows_nothing_is_done_and_flagged(segment: Command, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "flat.png"), np.full((40, 40), 90, np.uint8))
    assert segment(tmp_path / "in" / "flat.png", "--out", tmp_path / "out").status == 0
    (row,) = _rows(tmp_path / "out" / "segment.csv")
    assert row["quality"] == "NO_VESSELS;UNFAMILIAR"
    assert not _read(tmp_path / "out" / "flat-probability.png").any()


def test_the_mask_begins_at_the_threshold_of_the_network(segment: Command, models, tmp_path: Path) -> None:
    image = _image(tmp_path / "in", "one.png")
    models.add("frame", threshold=[0.25], offset=[-0.2])
    assert segment(image, "--out", tmp_path / "out").status == 0
    probability = _read(tmp_path / "out" / "one-probability.png") / 65535
    np.testing.assert_array_equal(_read(tmp_path / "out" / "one.png") > 0, probability >= 0.25)


def test_another_network_is_taken_by_its_name(segment: Command, models, tmp_path: Path) -> None:
    image = _image(tmp_path / "in", "one.png")
    models.add("other", offset=[50.0])
    assert segment(image, "--out", tmp_path / "out", "--network", "other").status == 0
    assert (_read(tmp_path / "out" / "one.png") == 255).all()


def test_a_network_that_is_not_there_is_one_sentence_and_nothing_is_made(segment: Command, tmp_path: Path) -> None:
    said = segment(_image(tmp_path / "in", "one.png"), "--out", tmp_path / "out", "--network", "nobody")
    assert said.status == 1
    assert said.err.startswith("angio: Expected a network that models/manifest.toml lists (frame), found 'nobody'")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_weights_that_were_changed_are_one_sentence(segment: Command, models, tmp_path: Path) -> None:
    path = models.folder / "frame.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    said = segment(_image(tmp_path / "in", "one.png"), "--out", tmp_path / "out")
    assert said.status == 1
    assert "the weights were changed" in said.err
    assert said.err.count("\n") == 1


def test_a_file_is_no_folder_for_masks(segment: Command, tmp_path: Path) -> None:
    image = _image(tmp_path / "in", "one.png")
    (tmp_path / "out").write_text("")
    said = segment(image, "--out", tmp_path / "out")
    assert said.status == 2
    assert said.err.startswith("angio: Expected --out to name a folder")


def test_the_network_is_held_to_the_threads_it_is_given(segment: Command, tmp_path: Path) -> None:
    segment(_image(tmp_path / "in", "one.png"), "--out", tmp_path / "out", "--threads", 2)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("option", [("--frame", 0), ("--threads", 0)])
def test_impossible_numbers_are_usage_errors(segment: Command, tmp_path: Path, option: tuple[str, int]) -> None:
    assert segment(_image(tmp_path / "in", "one.png"), "--out", tmp_path / "out", *option).status == 2
