"""Follow-ups of simulated patients without their runs: scans, films, regions and truth, a patient at a time.

The follow-ups are those that `angio simulate` writes for the same seed, number and preset: every part of a
patient draws its own random numbers, so that leaving the runs out changes nothing else.

    .venv/bin/python benchmarks/lipiodol_patients.py FOLDER [--cases N] [--first K] [--seed S] [--preset P]
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from angio_pipeline.simulate import load_preset
from angio_pipeline.simulate.aftermath.follow_up import write_follow_up
from angio_pipeline.simulate.patient import make_patient
from angio_pipeline.simulate.population import make_case
from angio_pipeline.simulate.writing import write_response

DONE = "case.json"


def write_patients(folder: Path, *, seed: int, preset: str, numbers: range) -> list[Path]:
    """Return the patients' folders; what is complete already is kept.

    Raises
    ------
    SystemExit
        When the folder holds patients of another seed or preset.
    """
    made = []
    for number in numbers:
        case = folder / f"case-{number:03d}"
        # A preset of one's own is known by its file's name, wherever it lies.
        told = {"seed": seed, "preset": Path(preset).name, "number": number}
        if not (case / DONE).is_file():
            _write(case, preset, told)
        elif {key: _read(case)[key] for key in told} != told:
            raise SystemExit(f"Expected patients of seed {seed}, {preset}, in {folder}; name another folder.")
        made.append(case)
    return made


def treated(case: Path) -> str:
    """Return when a written patient was treated, as ISO text."""
    return str(_read(case)["treated"])


def _read(case: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((case / DONE).read_text(encoding="utf-8"))
    return document


def _write(case: Path, preset: str, told: dict[str, object]) -> None:
    unfinished = case.with_name(f".{case.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    who = make_case(int(str(told["seed"])), int(str(told["number"])))
    patient = make_patient(who, load_preset(preset))
    write_follow_up(unfinished, patient)
    write_response(unfinished / "truth", patient)
    # Written last: it says that the patient is whole, and what the runs would have told, the day of treatment.
    document = {**told, "treated": who.treated.isoformat()}
    (unfinished / DONE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(case)


def main() -> int:
    """Return 0 when all patients are written."""
    parser = argparse.ArgumentParser(description="Write follow-ups of simulated patients.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first patient")
    parser.add_argument("--seed", type=int, default=7013)
    parser.add_argument("--preset", default="clinical")
    given = parser.parse_args()
    numbers = range(given.first, given.first + given.cases)
    for number in numbers:
        write_patients(given.folder, seed=given.seed, preset=given.preset, numbers=range(number, number + 1))
        print(f"{given.folder.name}: patient {number}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
