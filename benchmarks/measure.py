"""Measure the pipeline on this machine and write down what came out.

Cost is what `angio benchmark` measures; accuracy is what `angio evaluate` says of the sample. Written:
`benchmarks/results.md`, the sample's section of `docs/accuracy.md`, and the table of costs in `README.md`.
New simulated patients are measured by `benchmarks/clinical.py`.

    .venv/bin/python benchmarks/measure.py [--only cost|sample]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from pages import ROOT, accuracy_table, angio, feeder_words, machine, state, write_section

SAMPLE = ROOT / "data" / "sample"
CASES = ("512x20", "1024x24", "1024x60")
SCRIPT = "benchmarks/measure.py"


def measure_accuracy(truth: Path, sources: list[Path]) -> dict[str, Any]:
    """Return the document of `angio evaluate` for an analysis of the sources."""
    with tempfile.TemporaryDirectory() as out:
        angio("run", *map(str, sources), "--out", out, "--quiet")
        document: dict[str, Any] = json.loads(angio("evaluate", "--truth", str(truth), "--results", out, "--json"))
        return document


def cost_table(rows: list[dict[str, Any]]) -> str:
    """Return wall time and peak memory as a Markdown table."""
    lines = ["| frame | frames | wall, s | peak memory, GB |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {r['size_px']}² | {r['frames']} | {r['wall_s']:.1f} | {r['peak_gb']:.2f} |" for r in rows]
    return "\n".join(lines)


def sample_section() -> str:
    """Return what is said of the sample in `docs/accuracy.md`: with its regions and without."""
    given = measure_accuracy(SAMPLE, [SAMPLE])
    alone = measure_accuracy(SAMPLE, sorted(SAMPLE.glob("case-*/dicom")))
    return (
        f"Measured with {state()}. One simulated patient of the preset `easy`, calmer than most and looked at by\n"
        "everybody who works on the program: these figures are optimistic.\n\n"
        "### With the regions that lie in the sample\n\n"
        "As `scripts/run` and then `angio evaluate --truth data/sample --results out/sample`. The regions are drawn\n"
        f"on follow-ups; on the runs tumours are detected. {feeder_words(given)}\n\n{accuracy_table(given)}\n\n"
        "### Without a region\n\nThe lesions of the follow-ups are looked for in the first scan.\n"
        f"{feeder_words(alone)}\n\n{accuracy_table(alone)}"
    )


def results_page(cost: str) -> str:
    """Return `benchmarks/results.md`: what a run costs."""
    return (
        f"# What was measured\n\nWritten by `{SCRIPT}`, {state()}. How good the results are:\n"
        "[accuracy](../docs/accuracy.md).\n\n## Cost\n\n"
        f"From file to page, first start included, one worker.\n\n{cost}\n"
    )


def main() -> int:
    """Return 0 when the results were written."""
    parser = argparse.ArgumentParser(description="Measure the pipeline and write down what came out.")
    parser.add_argument("--only", choices=("cost", "sample"), help="measure this and leave the other as it stands")
    only = parser.parse_args().only
    if only != "sample":
        write_cost()
    if only != "cost":
        write_section(ROOT / "docs" / "accuracy.md", "sample", SCRIPT, sample_section())
    return 0


def write_cost() -> None:
    """Write what a run costs into `README.md` and `benchmarks/results.md`."""
    options = [word for case in CASES for word in ("--case", case)]
    place = machine()
    cost = cost_table(json.loads(angio("benchmark", "--json", *options))) + f"\n\nMeasured on {place}."
    write_section(ROOT / "README.md", "cost", SCRIPT, cost)
    (ROOT / "benchmarks" / "results.md").write_text(results_page(cost), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
