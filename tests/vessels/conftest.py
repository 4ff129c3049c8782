"""Makes the tubes importable as `vessel_tubes` in the tests of this folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("vessel_tubes", Path(__file__).with_name("tubes.py"))
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules["vessel_tubes"] = _module
_spec.loader.exec_module(_module)
