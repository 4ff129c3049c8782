"""Makes the geometric abdomen importable as `lipiodol_phantom` in the tests of this folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("lipiodol_phantom", Path(__file__).with_name("phantom.py"))
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules["lipiodol_phantom"] = _module
_spec.loader.exec_module(_module)
