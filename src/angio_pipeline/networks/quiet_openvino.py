"""OpenVINO, which is imported from here alone: by itself it reports its use to its makers."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

__all__ = ["openvino"]

# Without this package, which it looks for while it is imported, it has nothing to report with.
_NONE: Any = None
sys.modules.setdefault("openvino_telemetry", _NONE)
openvino = import_module("openvino")
