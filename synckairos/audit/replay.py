"""A session's audit rows played through the engine again, one by one. Pure: where rows come from is `verify.py`'s.

Each row says what was asked, by whom, and when it took effect; the engine says what follows. What it says is made into
a row just as the drain makes one, and compared with the row that is there, column by column and byte for byte.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

import orjson

from synckairos.audit.entry_rows import EventRow, parse_entry
from synckairos.clock import creation, engine
from synckairos.clock.commands import Command, Expire, with_actor
from synckairos.clock.model import Session, Transition
from synckairos.clock.recovery import OutagePolicy, recover
from synckairos.errors import ValidationFailed
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.instants import instant_ms
from synckairos.wire.outbox_entry import Cause, OutboxEntry, render_event
from synckairos.wire.request_bodies import parse_body, parse_stored_args
from synckairos.wire.session_json import parse_session, render_session

Kind = Literal["gap", "hash", "mismatch", "unplayable", "conflict", "projection", "taken"]

_GIVEN = frozenset({"args", "event"})  # what the replay is fed, so that comparing it would say nothing
_NO_STATE = (LookupError, TypeError, ValueError, AttributeError)  # what a document that isn't one may raise


@dataclass(frozen=True, slots=True)
class ReplayFinding:
    """Something about one version: all but `taken` are faults.

    `taken` is a state taken as it stands: a recovered one that no known outage policy leads to, or the first one after
    what retention took out of Postgres.
    """

    epoch: str
    version: int
    kind: Kind
    text: str

    @property
    def is_fault(self) -> bool:
        return self.kind != "taken"


class _Unplayable(Exception):
    """The engine can't be asked, or answers that this can't have happened."""


class AuditReplay:
    """One session: `see` its rows in the order of epoch and version."""

    def __init__(self, policy: OutagePolicy, archived: Mapping[str, int] | None = None) -> None:
        """Take the outage policy that is declared; others are tried after it.

        `archived` says of epochs up to which version they are in cold storage, perhaps there alone.
        """
        self._archived = archived or {}
        self._policies = dict.fromkeys((policy, OutagePolicy("charge"), OutagePolicy("freeze")))
        self._state: Session | None = None
        self._epoch: str | None = None
        self._version = 0

    def check_row(self, row: EventRow, bases: Iterable[bytes] = ()) -> Iterator[ReplayFinding]:
        """Play one row and tell what is wrong with it.

        `bases` are the documents a recovered session may go on from: of the version before, in any other epoch. After
        a fault the row's own document is what the next one is played on.
        """
        if sha256(row.snapshot).digest() != row.payload_hash:
            yield _finding(row, "hash", "the document's bytes aren't what payload_hash says")
        is_first = row.epoch != self._epoch
        if is_first:
            self._state = None
        broken = None if is_first and row.command in ("create", "recover") else self._gap(row, is_first)
        self._epoch, self._version = row.epoch, row.version
        if broken is not None:
            yield broken
            self._take(row)
            return
        try:
            transition = self._play(row, bases)
        except _Unplayable as why:
            yield _finding(row, "unplayable", str(why))
            self._take(row)
            return
        if transition is None:
            yield _finding(row, "taken", "no outage policy leads here from the version before: taken as it stands")
            self._take(row)
            return
        self._state = transition.state
        differing = list(_differing(row, transition))
        if differing:
            yield _finding(row, "mismatch", "; ".join(differing))
            self._take(row)

    def _gap(self, row: EventRow, is_first: bool) -> ReplayFinding | None:
        if is_first and row.version <= self._archived.get(row.epoch, 0) + 1:
            return _finding(row, "taken", "all versions before are in its archive alone: taken as it stands")
        if is_first:
            return _finding(row, "gap", "the epoch begins here: all versions before are missing")
        if row.version != self._version + 1:
            missing = f"{self._version + 1}" if row.version == self._version + 2 else f"{self._version + 1} and on"
            return _finding(row, "gap", f"version {missing} before it: missing")
        return None

    def _take(self, row: EventRow) -> None:
        """Go on from the row's own document, as far as it is one."""
        try:
            self._state = parse_session(row.snapshot, row.deleted)
        except _NO_STATE:
            self._state = None

    def _play(self, row: EventRow, bases: Iterable[bytes]) -> Transition | None:
        """Return what the engine makes of a row; None for a recovery that can't be told from what is known."""
        at_ms = instant_ms(row.occurred_at)
        args = None if row.args is None else orjson.loads(row.args)
        try:
            match row.command:
                case "create":
                    spec = parse_body(CreateSession, args).to_create()
                    return creation.create(spec, str(row.session_id), row.epoch, at_ms)
                case "recover":
                    return self._recover(row, bases, at_ms)
                case "expire":
                    return self._apply(Expire(), at_ms)
                case None:
                    raise _Unplayable("it names no command")
                case verb:
                    asked = parse_stored_args(verb, args or {}).to_command()
                    return self._apply(with_actor(asked, row.actor or ""), at_ms)
        except ValidationFailed as refusal:
            told = ", ".join(f"{each['path'] or 'args'}: {each['message']}" for each in refusal.details)
            raise _Unplayable(f"its command isn't one: {told}") from None

    def _apply(self, command: Command, at_ms: int) -> Transition:
        if self._state is None:
            raise _Unplayable("nothing to play it on: the version before has no state")
        try:
            decision = engine.apply(self._state, command, at_ms)
        except _NO_STATE as fault:
            raise _Unplayable(f"the version before is in no state to play it on: {fault!r}") from fault
        if isinstance(command, Expire):
            if not decision.overdue:
                raise _Unplayable("nothing was due")
            return decision.overdue[0]
        if decision.overdue:
            due = decision.overdue[0].event
            raise _Unplayable(f"{due.type} was due before it and has no version of its own")
        if decision.refusal is not None:
            raise _Unplayable(f"the engine refuses it: {decision.refusal.message}")
        if not decision.own:
            raise _Unplayable("it changes nothing")
        return decision.own[0]

    def _recover(self, row: EventRow, bases: Iterable[bytes], at_ms: int) -> Transition | None:
        is_known = False
        for base in bases:
            is_known = True
            try:
                state = parse_session(base)
            except _NO_STATE:
                continue
            for policy in self._policies:
                transition = recover(state, row.epoch, at_ms, policy)
                if render_session(transition.state) == row.snapshot:
                    return transition
        if not is_known:
            raise _Unplayable("the version it was recovered from is missing")
        return None


def _finding(row: EventRow, kind: Kind, text: str) -> ReplayFinding:
    return ReplayFinding(row.epoch, row.version, kind, text)


def _differing(row: EventRow, transition: Transition) -> Iterator[str]:
    """Tell in which columns the row isn't what the drain would have made of this transition."""
    args = None if row.args is None else orjson.loads(row.args)
    cause = Cause(row.actor or "", row.command or "", args, row.command_id, row.fingerprint, row.expired_participant_id)
    after = transition.state
    document = render_session(after)
    entry = OutboxEntry(after.session_id, after.epoch, after.version, render_event(transition, cause), document)
    expected = parse_entry(entry).event
    for name, found, due in zip(EventRow._fields, row, expected, strict=True):
        if found == due or name in _GIVEN:
            continue
        if name == "snapshot":
            yield from _differing_members(row.snapshot, document)
        elif name != "payload_hash":  # follows from the snapshot, or is a finding of its own
            yield f"{name} is {_text(found)}, not {_text(due)}"


def _differing_members(found: bytes, due: bytes) -> Iterator[str]:
    """Tell which members of the document differ."""
    try:
        theirs: Any = orjson.loads(found)
    except orjson.JSONDecodeError:
        theirs = None
    if not isinstance(theirs, dict):
        yield "snapshot is no document"
        return
    ours: dict[str, Any] = orjson.loads(due)
    names = [name for name in ours | theirs if theirs.get(name) != ours.get(name) or (name in ours) != (name in theirs)]
    if not names:
        yield "snapshot is the same JSON in other bytes"
    for name in names:
        yield f"snapshot.{name} is {_text(theirs.get(name))}, not {_text(ours.get(name))}"


def _text(value: object) -> str:
    text = value.isoformat() if isinstance(value, datetime) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= 80 else f"{text[:77]}…"
