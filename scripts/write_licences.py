"""Write what the program needs at run time, and under which licences, from the metadata of what is installed.

Written: `docs/licences.md` for people and `docs/sbom.cdx.json` (CycloneDX 1.6) for programs. Versions are those of
`constraints.txt`, which were installed and tested.

    .venv/bin/python scripts/write_licences.py [--check]
"""

from __future__ import annotations

import argparse
import json
import re
from email.message import Message
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, cast

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE, BILL = ROOT / "docs" / "licences.md", ROOT / "docs" / "sbom.cdx.json"
PROGRAM = "angio-pipeline"
# Packages whose metadata names no licence, or a whole text: what their licence file says.
READ_BY_HAND = {"lifelines": "MIT"}
# What torch's builds for graphics processors bring along, under their makers' terms; its CPU build has none of them.
FOR_A_DEVICE = ("cuda-", "nvidia-", "triton")
# Words that tell a copyleft licence which code at run time must not have; the lesser one may be linked.
FORBIDDEN = re.compile(r"(?<!L)(?<!Lesser )\bA?GPL|(?<!Lesser )General Public License")


def needed(name: str = PROGRAM) -> dict[str, Distribution]:
    """Return what a package needs at run time on this system, by canonical name, without itself."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(name, frozenset[str]())]
    while waiting:
        one, extras = waiting.pop()
        for text in distribution(one).requires or []:
            requirement = Requirement(text)
            key, more = canonicalize_name(requirement.name), frozenset(requirement.extras)
            wanted = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in (extras or {""})
            )
            if wanted and (key, more) not in seen and not key.startswith(FOR_A_DEVICE):
                seen.add((key, more))
                found[key] = distribution(requirement.name)
                waiting.append((requirement.name, more))
    return dict(sorted(found.items()))


def licence_of(package: Distribution) -> str:
    """Return a package's licence: its expression, else its classifiers, else its field.

    Raises
    ------
    SystemExit
        When the metadata names none; then read the package's licence and add it to READ_BY_HAND.
    """
    told = cast(Message, package.metadata)
    by_hand = READ_BY_HAND.get(canonicalize_name(told["Name"]))
    classifiers = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License")]
    field = (told.get("License") or "").strip()
    found = by_hand or told.get("License-Expression") or " / ".join(c for c in classifiers if c != "OSI Approved")
    found = found or (field.splitlines()[0] if field else "")
    if not found or len(found) > 120:
        raise SystemExit(f"Expected {told['Name']} to name its licence in its metadata, found none; read it.")
    return str(found)


def _version(package: Distribution) -> str:
    """Return the version without what tells builds for several devices apart."""
    return package.version.partition("+")[0]


def bill_of_materials(packages: dict[str, Distribution]) -> dict[str, Any]:
    """Return the list of components as CycloneDX has it."""
    components = [
        {
            "type": "library",
            "name": package.metadata["Name"],
            "version": _version(package),
            "purl": f"pkg:pypi/{name}@{_version(package)}",
            "licenses": [{"license": {"name": licence_of(package)}}],
        }
        for name, package in packages.items()
    ]
    program = {"type": "application", "name": PROGRAM, "version": distribution(PROGRAM).version}
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": program}}
    return head | {"components": components}


def page(packages: dict[str, Distribution]) -> str:
    """Return the page of the documentation."""
    rows = [f"| {p.metadata['Name']} | {_version(p)} | {licence_of(p)} |" for p in packages.values()]
    return (
        "# Licences\n\nThe program is under the Apache License 2.0. What it needs at run time (on Linux), with what "
        f"those need, is\n{len(packages)} packages; none is under the GPL. For programs: [a list of components]"
        "(sbom.cdx.json) (CycloneDX). Packages\nfor development and for benchmarks are not part of it. Wheels may hold "
        "libraries of others under their own licences,\nwhich lie beside them. What torch's "
        "builds for graphics processors bring along "
        "is not listed.\n\n"
        "<!-- written by scripts/write_licences.py -->\n| package | version | licence |\n| --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n"
    )


def main() -> int:
    """Return 0 when both files are written, or say what the metadata says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when they would differ")
    check = parser.parse_args().check
    packages = needed()
    if copyleft := [name for name, package in packages.items() if FORBIDDEN.search(licence_of(package))]:
        raise SystemExit(f"Expected no package under the GPL at run time, found {', '.join(copyleft)}.")
    texts = {PAGE: page(packages), BILL: json.dumps(bill_of_materials(packages), indent=1) + "\n"}
    if check:
        return int(any(not path.is_file() or path.read_text(encoding="utf-8") != text for path, text in texts.items()))
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
