"""Sections of documentation pages, each made from the code or from stored figures; see scripts/write_reference.py."""

import sys
from pathlib import Path

# Figures are read by the modules that measured them, so that what was asked for is told in one place.
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "benchmarks"))
