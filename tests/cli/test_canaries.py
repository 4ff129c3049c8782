"""Nothing that the commands write or print carries patient data: planted names are searched for in all of it."""

from __future__ import annotations

import csv
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from canaries import MARK, Aviary, canaries_in, copy_sample, find_canaries, mark_png
from command_here import angio_apart
from small_runs import FAST

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Scene:
    """A patient whose files, folders and records all name him, and what was made of them."""

    source: Path
    records: Path
    folder: Path
    aviary: Aviary

    def run(self, *arguments: object) -> None:
        """Run a command that succeeds and prints no canary."""
        done = angio_apart(*arguments)
        assert done.returncode == 0, done.stderr
        assert canaries_in(os.fsencode(done.stdout + done.stderr)) == set()

    def leaked(self, found: set[str]) -> dict[str, str]:
        """Say of canaries where they were planted."""
        places = {f"{MARK}{k:06d}": place for k, place in enumerate(self.aviary.places, start=1)}
        return {one: places.get(one.upper()[:11], "a name of file, folder or patient") for one in sorted(found)}


@pytest.fixture(scope="module")
def scene(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("canaries")
    source = copy_sample(sample, folder / "in" / f"{MARK}_Doe_Jane_1950")
    # Every kind of file has to be there; two scans are a course, and a third of their slices are scans as well.
    shutil.rmtree(source / "dicom" / "baseline-ct")
    for stack in {path.parent for path in source.rglob("001.dcm")}:
        for path in sorted(stack.glob("*.dcm")):
            if int(path.stem) % 3 != 1:
                path.unlink()
    aviary = Aviary()
    kinds: set[str] = set()
    for path in sorted(source.rglob("*.dcm")):
        kind = str(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID)
        aviary.plant(path, everywhere=kind not in kinds)
        kinds.add(kind)
    for path in sorted((source / "dicom" / "day000").glob("*.dcm")):
        path.rename(path.with_name(f"{MARK}_{path.name}"))
    for path in sorted((source / "rois").glob("*.png")):
        mark_png(path, aviary.new("text in a PNG"))
    (source / f"{MARK}_letter.pdf").write_bytes(b"%PDF- to Mrs " + MARK.encode())
    records = folder / "records.csv"
    records.write_text(
        "patient_id,name,comment,date,procedure,agents,doses_mg,oil_ml,regimen\n"
        f"{MARK}-ID,{MARK} Jane,seen by Dr {MARK},20240304,cTACE,doxorubicin,43.22,11.8,lipiodol\n",
        encoding="utf-8",
    )
    return Scene(source.parent, records, folder, aviary)


def test_copies_and_their_reports_hold_no_canary(scene: Scene) -> None:
    out = scene.folder / "shared"
    scene.run("deidentify", scene.source, "--out", out)
    found = find_canaries(out)
    assert {name: scene.leaked(seen) for name, seen in found.items()} == {}
    assert len(list(out.rglob("*.dcm"))) == len(list(scene.source.rglob("*.dcm")))
    with (out / "refused.csv").open(encoding="utf-8") as stream:
        assert [row["reason"] for row in csv.DictReader(stream)] == ["not_dicom"]


def test_results_and_tables_hold_no_canary_but_the_paths_of_refused_inputs(scene: Scene) -> None:
    out, tables = scene.folder / "out", scene.folder / "tables"
    # Networks name nothing.
    (scene.folder / "fast.toml").write_text(FAST)
    scene.run("run", scene.source, "--out", out, "--config", scene.folder / "fast.toml")
    found = find_canaries(out)
    # The list of refused inputs has to name them; it is the one file that does, in one column.
    assert found.pop("refused.csv")
    assert {name: scene.leaked(seen) for name, seen in found.items()} == {}
    with (out / "refused.csv").open(encoding="utf-8") as stream:
        rows = [{k: v for k, v in row.items() if k != "path"} for row in csv.DictReader(stream)]
    assert canaries_in(repr(rows).encode()) == set()
    assert len(list(out.rglob("analysis.json"))) == 3
    assert list(out.rglob("lipiodol.json"))
    scene.run("cohort", out, "--records", scene.records, "--out", tables)
    assert {name: scene.leaked(seen) for name, seen in find_canaries(tables).items()} == {}


def test_the_search_finds_what_was_planted(scene: Scene, tmp_path: Path) -> None:
    found = find_canaries(scene.source)
    assert len(found) > len(list(scene.source.rglob("*.dcm"))) > 40
    png = next(name for name in found if name.endswith(".png"))
    assert found[png]
    seen = set().union(*found.values())
    planted = {f"{MARK}{k:06d}" for k in range(1, len(scene.aviary.places) + 1)}
    assert len(planted - {one[:11] for one in seen}) < 0.02 * len(planted)
