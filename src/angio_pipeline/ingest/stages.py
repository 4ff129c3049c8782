"""Whether a run was made before embolisation or after it, by the words that the suite wrote beside it.

Only the word is taken, never the text: it may name a patient. Words that say something else in
other places (`post contrast`, `posterior`) are no evidence, and neither is a text that holds both.
"""

from __future__ import annotations

import re
from functools import lru_cache

from angio_pipeline.core.runs import Stage
from angio_pipeline.ingest.roles import Read

__all__ = ["STAGE_TAGS", "stage_of"]

STAGE_TAGS = ("AcquisitionProtocolName", "ProtocolName", "SeriesDescription")

_TREATED = r"(?:[ _.-]*(?:embol\w*|chemo\w*|dea?b[ _-]?tace|c?tace|tae|tare|sirt|treat\w*|inter\w*|op))"
_CONTRAST = r"(?![ _.-]*(?:contrast|contr|kontrast|kM|inj|cm\b))"
_AFTER = re.compile(
    rf"(?<![a-z])(?:post|after|nach|apr[eè]s|dopo|despu[eé]s){_CONTRAST}(?:{_TREATED}|(?![a-z]))"
    r"|[术術]后|[术術]後|栓塞[后後]|塞栓後|治[疗療][后後]",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    rf"(?<![a-z])(?:pre|before|vor|avant|prima|antes){_CONTRAST}(?:{_TREATED}|(?![a-z]))"
    r"|[术術]前|栓塞前|塞栓前|治[疗療]前",
    re.IGNORECASE,
)


def stage_of(read: Read) -> Stage | None:
    """Return what the names of series and protocol say, None where they say nothing or both."""
    return _stage_in(" / ".join(map(read, STAGE_TAGS)))


@lru_cache(maxsize=4096)  # the files of a series carry the same names
def _stage_in(words: str) -> Stage | None:
    before, after = (pattern.search(words) is not None for pattern in (_BEFORE, _AFTER))
    if before == after:
        return None
    return Stage.AFTER if after else Stage.BEFORE
