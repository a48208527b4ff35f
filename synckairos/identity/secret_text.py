"""Text of a stored credential: `synckairos_<id>_<secret><checksum>`.

The id has 12 characters of base62 and finds the row. The secret has 43 characters (256 bits). The checksum has 6
characters: the CRC-32 of the text before it. The checksum is checked before any look-up, so that a mistyped credential
costs no query. The prefix and the checksum let secret scanners find credentials with `PATTERN`.
"""

import re
import secrets
from hashlib import sha256
from zlib import crc32

from msgspec import Struct

from synckairos.wire.api_keys import KEY_ID_PATTERN

PREFIX = "synckairos_"

PATTERN = f"{PREFIX}{KEY_ID_PATTERN}_[0-9A-Za-z]{{49}}"
"""Regular expression that finds stored credentials in texts, for secret scanners."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH, _SECRET_LENGTH, _CHECKSUM_LENGTH = 12, 43, 6
_WHOLE = re.compile(PATTERN)


class SecretText(Struct, frozen=True):
    """A stored credential. Only its creator has `text`; the database has `credential_id` and `digest`."""

    credential_id: str
    text: str

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of the text: 32 bytes."""
        return sha256(self.text.encode()).digest()

    @property
    def redemption_digest(self) -> bytes:
        """Return the SHA-256 under which a link is stored: 32 bytes.

        It differs from `digest`, so that a link is never accepted in place of the session token that it gives.
        """
        return sha256(b"redeem " + self.text.encode()).digest()


def is_stored_credential(text: str) -> bool:
    """Return whether a bearer token claims to be a stored credential. Its checksum can be wrong."""
    return text.startswith(PREFIX)


def make_secret_text(credential_id: str | None = None) -> SecretText:
    """Return a new secret for a credential. By default, the credential also gets a new id."""
    credential_id = credential_id or _random_text(_ID_LENGTH)
    body = f"{PREFIX}{credential_id}_{_random_text(_SECRET_LENGTH)}"
    return SecretText(credential_id, body + _checksum(body))


def parse_secret_text(text: str) -> SecretText | None:
    """Return the credential that `text` states, None if the text has another form or a wrong checksum."""
    if not _WHOLE.fullmatch(text):
        return None
    body, checksum = text[:-_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    if _checksum(body) != checksum:
        return None
    return SecretText(body[len(PREFIX) : len(PREFIX) + _ID_LENGTH], text)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number, characters = crc32(body.encode()), []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(reversed(characters))
