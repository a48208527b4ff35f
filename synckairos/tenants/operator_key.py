"""The text of an operator key: `synckairos_<id>_<secret><checksum>`, in base62.

The secret has 256 bits. The checksum is the CRC-32 of the text before it, so that most mistyped or truncated keys are
refused before any look-up. Only the SHA-256 of the text is stored.
"""

import hashlib
import re
import secrets
import zlib
from typing import Final

from msgspec import Struct

PREFIX: Final = "synckairos_"
"""First characters of each key. No JSON Web Token begins with them, because they are no base64 of a JSON object."""

ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 43, 6
"""Numbers of characters. 43 characters in base62 have 256 bits, 6 characters have 32 bits."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TEXT = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}")


class OperatorKey(Struct, frozen=True, kw_only=True):
    """The id of a key, and the SHA-256 of its text."""

    key_id: str
    digest: bytes


def make_operator_key() -> str:
    """Return the text of a new random key."""
    key_id = _render(secrets.randbits(64), ID_LENGTH)
    body = f"{PREFIX}{key_id}_{_render(secrets.randbits(256), SECRET_LENGTH)}"
    return body + _checksum(body)


def parse_operator_key(text: str) -> OperatorKey | None:
    """Return the id and the digest of a key. Return None if the form or the checksum of the text is wrong."""
    found = _TEXT.fullmatch(text)
    if found is None or _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return OperatorKey(key_id=found[1], digest=hashlib.sha256(text.encode()).digest())


def _checksum(text: str) -> str:
    return _render(zlib.crc32(text.encode()), CHECKSUM_LENGTH)


def _render(number: int, length: int) -> str:
    """Return a number in base62 with `length` digits."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
