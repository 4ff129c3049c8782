"""The family of errors a case can raise, each with the code that `refused.csv` carries.

Misuse of a function is a plain `ValueError` or `TypeError`; an `AngioError` is about the
data of one case, and its one sentence says what was expected, what was found and what to do.
"""

from __future__ import annotations

__all__ = [
    "AngioError",
    "CodecError",
    "ConfigError",
    "InputRefused",
    "ModelError",
    "NotCalibratedError",
    "PacsError",
]


class AngioError(Exception):
    """An error about one case; `reason` is the machine-readable code."""

    reason = "error"

    def __init__(self, sentence: str, *, reason: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        if reason is not None:
            self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are lost by the default pickling between worker processes.
        return (_rebuild, (type(self), self.sentence, self.reason))


def _rebuild(kind: type[AngioError], sentence: str, reason: str) -> AngioError:
    return kind(sentence, reason=reason)


class InputRefused(AngioError):
    """The input cannot be analysed; `reason` names why (`empty_file`, `not_dicom`, …)."""

    reason = "unreadable"


class CodecError(InputRefused):
    """No installed decoder reads the pixel data."""

    reason = "unsupported_codec"


class ConfigError(AngioError):
    """A setting is unknown or out of range."""

    reason = "config"


class ModelError(AngioError):
    """The weights of a network are missing, changed, or not those of the network they are meant for."""

    reason = "model"


class NotCalibratedError(AngioError):
    """Millimetres in tissue were asked of data without a usable calibration."""

    reason = "not_calibrated"


class PacsError(AngioError):
    """A server cannot be reached, refuses, or does not give what was asked for."""

    reason = "pacs"
