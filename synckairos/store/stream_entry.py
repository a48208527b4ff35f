"""Outbox entries with the bytes that Redis stores: with the document of their version, or with splices.

Splices lead from the document of the version before to the document of the entry. So the reader of an entry with
splices needs the document of the version before. Only entries of large sessions have splices.
"""

from collections.abc import Mapping
from hashlib import sha256

from msgspec import Struct

from synckairos.session_names import split_session_name
from synckairos.wire.document_splices import apply_message_body, find_document_length
from synckairos.wire.outbox_entry import OutboxEntry


class StreamEntry(Struct, frozen=True):
    """One outbox entry with the stored bytes: its id in the stream, and its fields.

    The field `state` has the document. An entry of a large session can have other fields instead: `change` has the
    splices that lead from the document of the version before to its document, and `payload_hash` the SHA-256 of its
    document in hexadecimal form.
    """

    entry_id: str
    fields: Mapping[bytes, bytes]

    @property
    def session_name(self) -> str | None:
        """Return the name of the session in its tenant, None if the entry does not have it. The form is not checked."""
        name = self.fields.get(b"session_id")
        return name.decode(errors="replace") if name else None

    @property
    def splices(self) -> bytes | None:
        """Return the splices from the version before, None if the entry has the document."""
        return None if b"state" in self.fields else self.fields.get(b"change")

    def parse(self, document_before: bytes | None = None) -> OutboxEntry:
        """Parse the fields of the entry. The event and the document stay bytes, and are not checked.

        `document_before` is the document of the version before. An entry with splices needs it.

        The field `session_id` has the name of the session in its tenant.

        Raises: ValueError if a field is missing, if the session name, the epoch or the version is malformed, or if the
        splices do not lead from `document_before` to the document of the entry.
        """
        fields = self.fields
        try:
            session_name, epoch = fields[b"session_id"].decode(), fields[b"epoch"].decode()
            split_session_name(session_name)
            version, event = int(fields[b"version"]), fields[b"event"]
            if self.splices is None:
                return OutboxEntry(session_name, epoch, version, event, fields[b"state"])
            document = build_document(document_before, self.splices, fields[b"payload_hash"])
            return OutboxEntry(session_name, epoch, version, event, document)
        except KeyError as missing:
            raise ValueError(f"the entry has no field {missing}") from None

    @property
    def document_bytes(self) -> int:
        """Return the number of bytes of the entry with its document. With splices it is the size before them."""
        return self.size_bytes if self.splices is None else self.size_bytes + find_document_length(self.splices)

    @property
    def size_bytes(self) -> int:
        """Return the number of bytes of the fields that `Keys.outbox_bytes` counts.

        The field `previous` is not counted.
        """
        return sum(map(len, self.fields.values())) - len(self.fields.get(b"previous", b""))


def build_document(before: bytes | None, splices: bytes, payload_hash: bytes) -> bytes:
    """Return the document of a version from the document of the version before.

    `payload_hash` is the SHA-256 of the result in hexadecimal form.

    Raises: ValueError if `before` is None, or if the result has another hash.
    """
    if before is None:
        raise ValueError("the document of the version before is missing")
    document = apply_message_body(before, splices)
    if sha256(document).hexdigest().encode() != payload_hash:
        raise ValueError("the splices do not lead to the document with this hash")
    return document
