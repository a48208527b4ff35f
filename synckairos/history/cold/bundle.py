"""A session as one object: its rows as lines of JSON, compressed. Pure, and the same bytes for the same rows.

The first line is the head; a line a version follows in the order of the trail, then one for each disputed version.
Every line ends with the document as it was published, `state`, whose length stands before it as `state_bytes`.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import chain
from typing import Any

import orjson

from synckairos.history.records import TrailEvent
from synckairos.wire.v2_session import IMPORT_COMMAND

FORMAT = "synckairos-archive/1"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_GZIP = 31
_PIECE_BYTES = 1 << 20


class BundleDamaged(ValueError):
    """The object's bytes aren't what this product wrote."""


@dataclass(frozen=True, slots=True)
class BundleLine:
    """One version: what its row said, and the document. `raw` is the line without its end."""

    row: Mapping[str, Any]
    document: bytes
    raw: bytes

    @property
    def version(self) -> tuple[str, int]:
        return self.row["epoch"], self.row["version"]

    @property
    def key(self) -> tuple[int, int, str]:
        """Return its place in the trail."""
        return self.occurred_at_ms, self.row["version"], self.row["epoch"]

    @property
    def occurred_at_ms(self) -> int:
        return (datetime.fromisoformat(self.row["occurred_at"]) - _EPOCH) // _MS

    @property
    def payload_hash(self) -> bytes:
        return bytes.fromhex(self.row["payload_hash"])

    def event(self, snapshots: bool) -> TrailEvent:
        """Return it as the trail shows it."""
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
        )


@dataclass(frozen=True, slots=True)
class Bundle:
    """A session's archive, read back. `raw` is all of it, not compressed.

    A lean one has no `raw`, and no document but the newest: it says what the archive holds, however large that is.
    """

    head: Mapping[str, Any]
    events: tuple[BundleLine, ...]
    conflicts: tuple[BundleLine, ...]
    raw: bytes

    @property
    def newest(self) -> BundleLine:
        """Return the version the session ended with."""
        wanted = (self.head["epoch"], self.head["version"])
        return next(line for line in reversed(self.events) if line.version == wanted)


class BundleWriter:
    """Makes an object line by line; nothing but the compressed bytes stays in memory."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        """Take what the head says beside the format."""
        self._compressor = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        self._pieces = [self._compressor.compress(orjson.dumps({"format": FORMAT, **head}) + b"\n")]

    def add(self, lines: Iterable[bytes]) -> None:
        """Add lines as `render_bundle_line` makes them."""
        self._pieces.append(self._compressor.compress(b"".join(line + b"\n" for line in lines)))

    def finish(self) -> bytes:
        """Return the object."""
        self._pieces.append(self._compressor.flush())
        return b"".join(self._pieces)


def render_bundle_line(kind: str, row: Mapping[str, Any], state: bytes) -> bytes:
    """Render a row: what it doesn't have is left out, its hash is hexadecimal, `args` stay the text they were.

    Raises ValueError for a document that isn't what its hash says, or doesn't fit on a line.
    """
    if b"\n" in state or sha256(state).digest() != row["payload_hash"]:
        raise ValueError(f"version {row['version']} of epoch {row['epoch']} isn't what its hash says")
    told = {name: _plain(name, value) for name, value in row.items() if value is not None}
    return orjson.dumps({"kind": kind, **told, "state_bytes": len(state), "state": orjson.Fragment(state)})


def _plain(name: str, value: Any) -> Any:
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


def parse_bundle(content: bytes, *, lean: bool = False) -> Bundle:
    """Read an object back, every document checked against its hash. Raises BundleDamaged."""
    try:
        raw = b"" if lean else zlib.decompress(content, _GZIP)
        rest = _unpacked(content) if lean else iter(raw.removesuffix(b"\n").split(b"\n"))
        head = orjson.loads(next(rest, b""))
        if head["format"] != FORMAT:
            raise BundleDamaged(f"its format is {head['format']!r}, not {FORMAT}")
        newest = (head["epoch"], head["version"])
        lines = [_parse_line(line, keep=lambda version: not lean or version == newest) for line in rest]
        events = tuple(line for line in lines if line.row["kind"] == "event")
        bundle = Bundle(head, events, tuple(line for line in lines if line.row["kind"] == "conflict"), raw)
        told = (head["events"], head["conflicts"])
    except (zlib.error, orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as fault:
        raise BundleDamaged(f"{type(fault).__name__}: {fault}") from fault
    if told != (len(bundle.events), len(bundle.conflicts)):
        raise BundleDamaged(f"it has {len(bundle.events)} events and {len(bundle.conflicts)} conflicts, not {told}")
    return bundle


def _unpacked(content: bytes) -> Iterator[bytes]:
    """Yield an object's lines, one and a piece of the next in memory."""
    decompressor, begun = zlib.decompressobj(_GZIP), b""
    while not decompressor.eof:
        piece = decompressor.decompress(content, _PIECE_BYTES)
        content = decompressor.unconsumed_tail
        if not piece and not content and not decompressor.eof:
            raise BundleDamaged("it is cut off")
        *whole, begun = (begun + piece).split(b"\n")
        yield from whole


def _parse_line(raw: bytes, keep: Callable[[tuple[str, int]], bool]) -> BundleLine:
    row = orjson.loads(raw)
    state = raw[-1 - row["state_bytes"] : -1]
    del row["state"]
    line = BundleLine(row, state, raw)
    if sha256(state).digest() != line.payload_hash:
        raise BundleDamaged(f"version {line.row['version']} of epoch {line.row['epoch']} isn't what its hash says")
    return line if keep(line.version) else BundleLine(row, b"", b"")


def find_version_gaps(events: Iterable[BundleLine], before: Iterable[BundleLine] = ()) -> Iterator[str]:
    """Name versions that are missing: each epoch begins with 1, or goes on from an earlier version of another one.

    An epoch that was imported from v2 may begin with any version: v2 may have lost the rows before.

    What is there `before` these events counts, wherever it is kept.
    """
    epochs: defaultdict[str, dict[int, BundleLine]] = defaultdict(dict)
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
            yield f"what comes before version {first} of epoch {epoch}"
        missing = sorted(set(range(first, max(found))) - found.keys())
        if missing:
            yield f"version {missing[0]} of epoch {epoch}"
