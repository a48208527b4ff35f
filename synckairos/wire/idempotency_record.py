"""Idempotency records: the saved decision for a command id.

An idempotency record is small: it has the number of the version, but not the answer. A replay renders the answer again
from the document of that version, so the answer has the same bytes.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from msgspec.json import Decoder

from synckairos.errors import ReplayedRefusal, SyncKairosError


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """The saved decision for a command id. `epoch` and `version` are those of the session after the decision.

    `refusal` has the error's code, HTTP status, message and details, None if the command was accepted.
    """

    fingerprint: str
    epoch: str
    version: int
    expired_participant_id: str | None = None
    refusal: tuple[str, int, str, Any] | None = None

    @classmethod
    def from_refusal(cls, fingerprint: str, epoch: str, version: int, error: SyncKairosError) -> "IdempotencyRecord":
        """Return the idempotency record of a command that was refused when the session had this epoch and version."""
        return cls(fingerprint, epoch, version, refusal=(error.code, error.status, error.message, error.details))

    def render(self) -> bytes:
        """Render the record as a JSON array with the values of the fields, in their order."""
        return orjson.dumps([self.fingerprint, self.epoch, self.version, self.expired_participant_id, self.refusal])

    @classmethod
    def parse(cls, record: bytes) -> "IdempotencyRecord":
        """Parse the bytes that `render` returned.

        Raises: MsgspecError for any other bytes.
        """
        return cls(*_decode(record))

    def to_error(self) -> ReplayedRefusal | None:
        """Return the refusal as an error to raise, None if the command was accepted."""
        return None if self.refusal is None else ReplayedRefusal(*self.refusal)


_decode = Decoder(tuple[str, str, int, str | None, tuple[str, int, str, Any] | None]).decode
