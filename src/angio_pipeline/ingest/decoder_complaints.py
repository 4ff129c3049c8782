"""What native decoders say on the process's standard error, caught and judged.

The JPEG library behind GDCM answers a damaged stream with grey pixels, reports success, and says
so only on standard error. That sentence is the sole sign of garbage, and no user should read it:
both are reasons to catch it. What else arrives meanwhile is another decoder's chatter about a
failure it also reports as an error, or another thread's: the latter is passed on.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["caught_complaints"]

_STDERR = 2
_LOCK = threading.RLock()
_COMPLAINT = re.compile(
    rb"(Corrupt JPEG data|Bogus |Invalid |Premature end|Unsupported |Inconsistent |Unknown |Warning: unknown JFIF|"
    rb"Application transferred too|Improper |Not a JPEG|Huffman|Quantization|Sorry, |Error with |Marker handler|"
    rb"Failed to |Stream )",
    re.IGNORECASE,
)


@contextmanager
def caught_complaints() -> Iterator[list[str]]:
    """Return a list that holds, once the context ends, what a native decoder complained about."""
    found: list[str] = []
    with _LOCK, tempfile.TemporaryFile() as sink:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # a process without standard error has nothing to catch
            yield found
            return
        try:
            os.dup2(sink.fileno(), _STDERR)
            yield found
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            sink.seek(0)
            for line in sink.read().splitlines(keepends=True):
                if _COMPLAINT.match(line):
                    found.append(line.decode(errors="replace").strip())
                elif threading.active_count() > 1:
                    os.write(_STDERR, line)
