"""What a patient's identifiers become: numbers that follow from the secret key, and from nothing without it.

One key serves pseudonyms, UIDs, dates and the digests of files; a word in front of each message keeps the
four apart, so that none of them tells anything about another.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

__all__ = ["Keyed"]


@dataclass(frozen=True, slots=True)
class Keyed:
    """Replacements under one key; the key itself is never shown.

    Attributes
    ----------
    key : bytes
        The secret of `pseudonym.read_key`.
    weeks : tuple of int
        Least and most weeks by which dates go back.
    """

    key: bytes = field(repr=False)
    weeks: tuple[int, int] = (52, 520)

    def uid(self, original: str) -> str:
        """Return the UID in place of `original`: 2.25 and 128 bits (PS3.5 B.2), the same at every call."""
        number = bytearray(self._digest("uid", original)[:16])
        number[6] = number[6] & 0x0F | 0x80  # UUID of version 8, whose bits are free: RFC 9562
        number[8] = number[8] & 0x3F | 0x80
        return f"2.25.{int.from_bytes(number, 'big')}"

    def days_back(self, subject: str) -> int:
        """Return by how many days a patient's dates go back: whole weeks, so that weekdays stay."""
        least, most = self.weeks
        return 7 * (least + int.from_bytes(self._digest("dates", subject)[:8], "big") % (most - least + 1))

    def digest(self, content: bytes) -> str:
        """Return a digest that tells content apart, and that nobody without the key can compare."""
        return self._digest("content", content).hex()[:32]

    def _digest(self, purpose: str, message: str | bytes) -> bytes:
        content = message.encode() if isinstance(message, str) else message
        return hmac.new(self.key, f"deidentify {purpose}\0".encode() + content, hashlib.sha256).digest()
