"""Make data/sample again from its seed: the same bytes every time on one set of library versions."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from angio_pipeline.simulate import simulate

SEED = 6
SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"
LIMIT_MB = 25.0


def main() -> int:
    """Return 0 when the sample was written and is small enough to travel in the wheel."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    for old in target.glob("case-*"):
        shutil.rmtree(old)
    simulate(target, cases=1, seed=SEED, preset="easy")
    size_mb = sum(p.stat().st_size for p in target.rglob("*") if p.is_file()) / 1e6
    print(f"{target}: {size_mb:.1f} MB")
    return 0 if size_mb <= LIMIT_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
