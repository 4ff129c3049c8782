"""OpenVINO, which is imported from here alone: by itself it reports its use to its makers."""

from __future__ import annotations

import sys

# Without this package it has nothing to report with.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # typed as modules only, but None is how Python is told that an import has to fail

import openvino  # noqa: E402  # it looks for the reporter while it is imported, so the line above has to come first

__all__ = ["openvino"]
