"""Format of archive objects: the rows of one session as gzip-compressed lines of JSON. Equal rows give equal bytes.

The first line is the head. Then comes one line for each version, in the order of the audit trail, and one line for each
conflict. A conflict is a version that reached the audit a second time with different content. The last member of a
version or conflict line is `state`, with the unchanged bytes of the document. The member before is `state_bytes`, the
number of these bytes.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import chain
from typing import Any

import orjson

from synckairos.history.records import TrailEvent
from synckairos.wire.charges_json import parse_charge_rows
from synckairos.wire.v2_state_parser import IMPORT_COMMAND

FORMAT = "synckairos-archive/1"
"""Name and version of the format. The head of each object contains this name."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_GZIP_WBITS = 31  # the value of zlib's parameter `wbits` for the gzip format
_PIECE_BYTES = 1 << 18
"""Maximum decompressed bytes of one step of the parser."""


class ArchiveBytesDamaged(ValueError):
    """The bytes of an object are not a complete and unchanged archive. The message names the first fault."""


@dataclass(frozen=True, slots=True)
class ArchiveLine:
    """One line of an archive, for a version or a conflict.

    `row` has the members of the line without `state`. `document` is the session document. `raw` is the whole line
    without the line end. In the lines of an `Archive`, `document` and `raw` are empty, except in the line of the newest
    version. `Archive.read_lines` returns lines with all documents.
    """

    row: Mapping[str, Any]
    document: bytes
    raw: bytes

    @property
    def version(self) -> tuple[str, int]:
        """Return the epoch and the version number of this line."""
        return self.row["epoch"], self.row["version"]

    @property
    def sort_key(self) -> tuple[int, int, str]:
        """Return the position of this version in the audit trail: instant in milliseconds, version, epoch."""
        return self.occurred_at_ms, self.row["version"], self.row["epoch"]

    @property
    def occurred_at_ms(self) -> int:
        """Return the instant of this version, ms since the Unix epoch."""
        return (datetime.fromisoformat(self.row["occurred_at"]) - _EPOCH) // _MS

    @property
    def stored_payload_hash(self) -> bytes:
        """Return the SHA-256 of the document as the line states it. This property does not calculate the hash."""
        return bytes.fromhex(self.row["payload_hash"])

    def to_trail_event(self, snapshots: bool) -> TrailEvent:
        """Return this version as an event of the audit trail.

        If `snapshots` is True, the event has the line's document.
        """
        get = self.row.get
        return TrailEvent(
            epoch=self.row["epoch"],
            version=self.row["version"],
            event_type=self.row["event_type"],
            occurred_at_ms=self.occurred_at_ms,
            participant_id=get("participant_id"),
            group_id=get("group_id"),
            actor=get("actor"),
            time_used_ms=get("time_used_ms"),
            time_remaining_ms=get("time_remaining_ms"),
            document=self.document if snapshots else None,
            role=get("role"),
            on_behalf_of=get("on_behalf_of"),
            charges=parse_charge_rows(get("charges")),
            record_name=get("command_id"),
            participant_ids=tuple(get("participant_ids") or ()),
        )


@dataclass(frozen=True, slots=True)
class Archive:
    """A verified archive of one session. `head` is the parsed first line, and `content` is the compressed object.

    Only the document of the newest version is in memory. The other documents are decompressed when they are read.
    """

    head: Mapping[str, Any]
    events: tuple[ArchiveLine, ...]
    conflicts: tuple[ArchiveLine, ...]
    content: bytes

    @property
    def newest_line(self) -> ArchiveLine:
        """Return the line of the newest version, with its document. The head of the archive names this version."""
        last = (self.head["epoch"], self.head["version"])
        return next(line for line in reversed(self.events) if line.version == last)

    def read_lines(self) -> Iterator[ArchiveLine]:
        """Yield all lines with their documents: the events, then the conflicts. One line is in memory at a time."""
        lines = _decompressed_lines(self.content)
        next(lines)  # the head
        return map(_split_line, lines)

    def read_events(self) -> Iterator[ArchiveLine]:
        """Yield the lines of all versions with their documents, in the order of the audit trail.

        Conflicts are left out.
        """
        return (line for line in self.read_lines() if line.row["kind"] == "event")

    def read_pieces(self) -> Iterator[bytes]:
        """Yield the decompressed object in pieces. A piece can end in the middle of a line."""
        return _decompressed_pieces(self.content)


class ArchiveWriter:
    """Writer that builds an archive object line by line. Only compressed bytes stay in memory."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        """Write the head line, which contains `format` and the members of `head`."""
        self._compressor = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WBITS)
        self._pieces = [self._compressor.compress(orjson.dumps({"format": FORMAT, **head}) + b"\n")]

    def add(self, lines: Iterable[bytes]) -> None:
        """Append lines. Each line must be a result of `render_archive_line`, or the `raw` of an `ArchiveLine`."""
        compressed = (self._compressor.compress(line + b"\n") for line in lines)
        self._pieces += [piece for piece in compressed if piece]

    def finish_to_bytes(self) -> bytes:
        """Finish the compression and return the bytes of the object. No method may be called afterwards."""
        self._pieces.append(self._compressor.flush())
        return b"".join(self._pieces)


def render_archive_line(kind: str, row: Mapping[str, Any], document: bytes) -> bytes:
    """Return the archive line of a version or conflict, without a line end. `kind` is `event` or `conflict`.

    `row` has the columns of the row in Postgres, by name. Columns with the value null are omitted. `payload_hash` is
    written in hexadecimal form, and `args` with unchanged bytes.

    Raises: ValueError if the document does not match `payload_hash` or contains a line end.
    """
    if b"\n" in document or sha256(document).digest() != row["payload_hash"]:
        raise ValueError(f"version {row['version']} of epoch {row['epoch']} does not match its hash")
    members = {name: _to_json_value(name, value) for name, value in row.items() if value is not None}
    return orjson.dumps({"kind": kind, **members, "state_bytes": len(document), "state": orjson.Fragment(document)})


def _to_json_value(name: str, value: Any) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case bytes() if name == "payload_hash":
            return value.hex()
        case bytes():
            return orjson.Fragment(value)
        case str() if name == "args":
            return orjson.Fragment(value.encode())
        case _:
            return value


def parse_archive(content: bytes) -> Archive:
    """Decompress and parse the bytes of an archive object, and verify the hash of each document.

    Raises: ArchiveBytesDamaged.
    """
    try:
        rest = _decompressed_lines(content)
        head = orjson.loads(next(rest, b""))
        if head["format"] != FORMAT:
            raise ArchiveBytesDamaged(f"the format is {head['format']!r}, not {FORMAT}")
        newest = (head["epoch"], head["version"])
        lines = [_parse_line(line, newest) for line in rest]
        events = tuple(line for line in lines if line.row["kind"] == "event")
        archive = Archive(head, events, tuple(line for line in lines if line.row["kind"] == "conflict"), content)
        counts = (head["events"], head["conflicts"])
    except (zlib.error, orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as fault:
        raise ArchiveBytesDamaged(f"{type(fault).__name__}: {fault}") from fault
    if counts != (len(archive.events), len(archive.conflicts)):
        raise ArchiveBytesDamaged(
            f"the object has {len(archive.events)} events and {len(archive.conflicts)} conflicts, not {counts}"
        )
    return archive


def _decompressed_lines(content: bytes) -> Iterator[bytes]:
    """Yield the decompressed lines of an object. Keep only about `_PIECE_BYTES` and one line in memory.

    Raises: ArchiveBytesDamaged if the object is incomplete.
    """
    partial: list[bytes] = []
    for piece in _decompressed_pieces(content):
        first, *others = piece.split(b"\n")
        partial.append(first)
        if others:
            yield b"".join(partial)
            yield from others[:-1]
            partial = [others[-1]]


def _decompressed_pieces(content: bytes) -> Iterator[bytes]:
    """Yield the decompressed bytes of an object, at most `_PIECE_BYTES` at a time.

    Raises: ArchiveBytesDamaged if the object is incomplete.
    """
    decompressor, rest = zlib.decompressobj(_GZIP_WBITS), memoryview(content)
    while not decompressor.eof:
        piece = decompressor.decompress(rest[:_PIECE_BYTES], _PIECE_BYTES)
        rest = rest[min(len(rest), _PIECE_BYTES) - len(decompressor.unconsumed_tail) :]
        if not piece and not rest and not decompressor.eof:
            raise ArchiveBytesDamaged("the object is incomplete")
        if piece:
            yield piece


def _split_line(raw: bytes) -> ArchiveLine:
    row = orjson.loads(raw)
    document = raw[-1 - row["state_bytes"] : -1]
    del row["state"]
    return ArchiveLine(row, document, raw)


def _parse_line(raw: bytes, newest: tuple[str, int]) -> ArchiveLine:
    line = _split_line(raw)
    if sha256(line.document).digest() != line.stored_payload_hash:
        raise ArchiveBytesDamaged(f"version {line.row['version']} of epoch {line.row['epoch']} does not match its hash")
    return line if line.version == newest else ArchiveLine(line.row, b"", b"")


def find_version_gaps(events: Iterable[ArchiveLine], before: Iterable[ArchiveLine] = ()) -> Iterator[str]:
    """Yield a text for each gap in the version numbers of `before` and `events` together.

    Yield nothing if there is no gap.

    `before` has the lines of earlier archives of the session. An epoch begins with version 1, or it continues an
    earlier version of another epoch. An epoch that was imported from v2 can begin with any version, because v2 can have
    lost earlier rows.
    """
    epochs: defaultdict[str, dict[int, ArchiveLine]] = defaultdict(dict)
    for line in chain(before, events):
        epoch, version = line.version
        epochs[epoch][version] = line
    for epoch, found in epochs.items():
        first = min(found)
        bases = [other[first - 1] for name, other in epochs.items() if name != epoch and first - 1 in other]
        is_imported = found[first].row.get("command") == IMPORT_COMMAND
        if (
            first > 1
            and not is_imported
            and not any(base.occurred_at_ms <= found[first].occurred_at_ms for base in bases)
        ):
            yield f"the version before version {first} of epoch {epoch}"
        missing = sorted(set(range(first, max(found))) - found.keys())
        if missing:
            yield f"version {missing[0]} of epoch {epoch}"
