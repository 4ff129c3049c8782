"""OpenVINO, which is imported from here alone: by itself it reports its use to its makers."""

from __future__ import annotations

import sys

# Without this package it has nothing to report with.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: Python's word for "never"

import openvino  # noqa: E402  # after what it must not find

__all__ = ["openvino"]
