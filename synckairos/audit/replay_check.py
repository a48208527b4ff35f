"""Replay of a session's audit rows through the clock engine, row by row. Pure; `verify.py` reads the rows.

A row has the command, its actor and the instant at which the command took effect. The engine calculates the resulting
version. The replay converts this version to a row, as the drain does, and compares this row with the stored row, column
by column and byte by byte.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

import orjson

from synckairos.audit.entry_rows import EventRow, parse_entry
from synckairos.clock import creation, engine
from synckairos.clock.begin_turn import block_undo
from synckairos.clock.commands import AddParticipant, Command, Create, Expire, NewParticipant, Undo, with_actor
from synckairos.clock.first_edition_compatibility import as_first_edition
from synckairos.clock.importing import import_session
from synckairos.clock.model import Session
from synckairos.clock.overdue import make_warning_without_free_time
from synckairos.clock.recover_lost_session import OutageChargePolicy, recover_session
from synckairos.clock.transition import Charge, EventType, Transition
from synckairos.clock.undo import undo_past_free_limit
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace
from synckairos.session_names import session_name
from synckairos.wire.body_parser import parse_audited_args, parse_body
from synckairos.wire.charges_json import charge_rows
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.document_scan import is_second_edition
from synckairos.wire.instants import datetime_to_ms
from synckairos.wire.outbox_entry import CommitCause, OutboxEntry, render_event
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from synckairos.wire.v2_state_parser import IMPORT_COMMAND, V2StateMalformed, parse_v2_session

FindingKind = Literal["gap", "hash", "mismatch", "unplayable", "conflict", "projection", "taken", "imported"]
"""Kinds of findings.

`taken` and `imported` mean that a stored state was accepted without a check. The other kinds are faults.
"""

_NO_FAULTS = frozenset({"taken", "imported"})
_BEGINNINGS = frozenset({"create", "recover", IMPORT_COMMAND})  # commands with which an epoch begins

_INPUTS = frozenset({"args", "event"})  # inputs of the replay, which a comparison cannot check
_INVALID_STATE = (LookupError, TypeError, ValueError, AttributeError)  # errors that an invalid document causes


@dataclass(frozen=True, slots=True)
class ReplayFinding:
    """A finding about one version. All kinds except `taken` and `imported` are faults.

    `taken` means that the replay accepted the stored state without a check. There are two reasons: the session was
    recovered and no known outage policy leads to this state, or retention removed all earlier versions from Postgres.
    `imported` means that the epoch comes from the audit of v2, which records neither commands nor actors.
    """

    epoch: str
    version: int
    kind: FindingKind
    text: str

    @property
    def contradicts_audit(self) -> bool:
        """Return whether this finding is a fault of the audit: True for all kinds except `taken` and `imported`."""
        return self.kind not in _NO_FAULTS


class _Unplayable(Exception):
    """The engine cannot replay a row, because the command is invalid or the engine refuses it."""


class AuditReplayCheck:
    """Replay of one session. Call `replay_row` once for each row, in the order of epoch and version."""

    def __init__(self, policy: OutageChargePolicy, archived: Mapping[str, int] | None = None) -> None:
        """Create a replay.

        `policy` is the configured outage policy. If it does not explain a recovery, the other policies are tried.
        `archived` has, by epoch, the number of the last version that retention removed from Postgres.
        """
        self._archived = archived or {}
        self._policies = dict.fromkeys((policy, OutageChargePolicy("charge"), OutageChargePolicy("freeze")))
        self._state: Session | None = None
        self._epoch: str | None = None
        self._version = 0

    def replay_row(
        self, row: EventRow, bases: Iterable[bytes] = (), charges: tuple[Charge, ...] | None = None
    ) -> Iterator[ReplayFinding]:
        """Replay one row and yield its findings. Yield nothing if the row is the result of its command.

        The rows of earlier calls are the state before. `bases` are the documents from which the session can have been
        recovered: the version `find_recovered_version` in each other epoch. `charges` are the stored charges of the row
        in the order of participant ids, None if they are not filled in yet. After a fault the replay continues from the
        document of the row.
        """
        if sha256(row.snapshot).digest() != row.payload_hash:
            yield _finding(row, "hash", "the bytes of the document do not match payload_hash")
        is_first = row.epoch != self._epoch
        if is_first:
            self._state = None
        gap = None if is_first and row.command in _BEGINNINGS else self._find_gap(row, is_first)
        self._epoch, self._version = row.epoch, row.version
        if gap is not None:
            yield gap
            self._continue_from(row)
            return
        if row.command == IMPORT_COMMAND and row.args is None:
            if is_first:
                yield _finding(row, "imported", "imported from v2: this epoch is accepted without a replay")
            self._continue_from(row)
            return
        try:
            transition = self._replay(row, bases)
        except _Unplayable as why:
            yield _finding(row, "unplayable", str(why))
            self._continue_from(row)
            return
        if transition is None:
            yield _finding(row, "taken", "no outage policy explains this recovery: accepted without a check")
            self._continue_from(row)
            return
        if b'"began_version"' not in row.snapshot:
            # The row is from a release that did not have this member.
            transition = Transition(transition.event, block_undo(transition.state))
        self._state = transition.state
        differing = [*_differing(row, transition), *_differing_charges(charges, transition.event.charges)]
        if differing:
            yield _finding(row, "mismatch", "; ".join(differing))
            self._continue_from(row)

    def _find_gap(self, row: EventRow, is_first: bool) -> ReplayFinding | None:
        if is_first and row.version <= self._archived.get(row.epoch, 0) + 1:
            return _finding(row, "taken", "all earlier versions are only in cold storage: accepted without a check")
        if is_first:
            return _finding(row, "gap", "the epoch begins here: all earlier versions are missing")
        if row.version != self._version + 1:
            missing = f"{self._version + 1}" if row.version == self._version + 2 else f"{self._version + 1} and later"
            return _finding(row, "gap", f"the preceding version {missing}: missing")
        return None

    def _continue_from(self, row: EventRow) -> None:
        """Continue the replay from the document of the row. If the document is invalid, continue without a state."""
        try:
            self._state = parse_session(row.snapshot, row.deleted)
        except _INVALID_STATE:
            self._state = None

    def _replay(self, row: EventRow, bases: Iterable[bytes]) -> Transition | None:
        """Return the engine's transition for a row. Return None for a recovery that no known base and policy explain.

        Raises: _Unplayable.
        """
        if self._state is not None and not is_second_edition(row.snapshot):
            self._state = as_first_edition(self._state)
        at_ms = datetime_to_ms(row.occurred_at)
        args = None if row.args is None else orjson.loads(row.args)
        try:
            match row.command:
                case "create":
                    return self._create(row, parse_body(CreateSession, args).to_create(), at_ms)
                case "recover":
                    return self._recover(row, bases, at_ms)
                case verb if verb == IMPORT_COMMAND:
                    return import_session(parse_v2_session((args or {}).get("v2")), row.epoch, row.version, at_ms)
                case "expire":
                    return self._expire(row, at_ms)
                case None:
                    raise _Unplayable("the row has no command")
                case verb:
                    command = parse_audited_args(verb, args or {}).to_command()
                    if isinstance(command, AddParticipant):
                        return self._add_participant(row, command.participant, at_ms)
                    if isinstance(command, Undo):
                        return self._undo(row, command, at_ms)
                    return self._apply(with_actor(command, row.actor or ""), at_ms)
        except ValidationFailed as refusal:
            faults = ", ".join(f"{each['path'] or 'args'}: {each['message']}" for each in refusal.details)
            raise _Unplayable(f"the command is invalid: {faults}") from None
        except V2StateMalformed as fault:
            raise _Unplayable(f"the state of v2 is malformed: {fault}") from None

    def _create(self, row: EventRow, spec: Create, at_ms: int) -> Transition:
        def by_rule(counts_byoyomi: bool) -> Transition:
            people = tuple(replace(each, counts_byoyomi=counts_byoyomi) for each in spec.participants)
            edition = 2 if is_second_edition(row.snapshot) else 1
            by_edition = replace(spec, participants=people, edition=edition)
            return creation.create(by_edition, str(row.session_id), row.epoch, at_ms)

        return _by_recorded_lag_rule(row, by_rule)

    def _add_participant(self, row: EventRow, new: NewParticipant, at_ms: int) -> Transition:
        def by_rule(counts_byoyomi: bool) -> Transition:
            command = AddParticipant(replace(new, counts_byoyomi=counts_byoyomi))
            return self._apply(with_actor(command, row.actor or ""), at_ms)

        return _by_recorded_lag_rule(row, by_rule)

    def _expire(self, row: EventRow, at_ms: int) -> Transition:
        if row.event_type == EventType.TIME_WARNING and self._state is not None and self._state.turn.is_in_overtime:
            early = make_warning_without_free_time(self._state, at_ms)
            if early is not None and render_session(early.state) == row.snapshot:
                return early
        return self._apply(Expire(ignores_grace=True), at_ms)

    def _undo(self, row: EventRow, command: Undo, at_ms: int) -> Transition:
        transition = self._apply(command, at_ms)
        earlier = None if self._state is None else undo_past_free_limit(self._state, command, at_ms)
        return transition if earlier is None or render_session(earlier.state) != row.snapshot else earlier

    def _apply(self, command: Command, at_ms: int) -> Transition:
        if self._state is None:
            raise _Unplayable("the preceding version has no state to replay from")
        try:
            decision = engine.apply(self._state, command, at_ms)
        except _INVALID_STATE as fault:
            raise _Unplayable(f"the state of the preceding version cannot be replayed: {fault!r}") from fault
        if isinstance(command, Expire):
            if not decision.overdue:
                raise _Unplayable("nothing was due at this instant")
            return decision.overdue[0]
        if decision.overdue:
            due = decision.overdue[0].event
            raise _Unplayable(f"{due.type} was due earlier and has no version")
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
            except _INVALID_STATE:
                continue
            if not is_second_edition(row.snapshot):
                state = as_first_edition(state)
            for policy in self._policies:
                transition = recover_session(state, row.epoch, at_ms, policy, row.version - 1)
                if render_session(transition.state) == row.snapshot:
                    return transition
        if not is_known:
            raise _Unplayable("the version from which it was recovered is missing")
        return None


def _by_recorded_lag_rule(row: EventRow, by_rule: Callable[[bool], Transition]) -> Transition:
    """Return the transition by the lag rule that leads to the document of the row.

    A row does not contain its lag rule. Early versions did not count byo-yomi in the lag account, and stored no version
    of their rules. If neither rule leads to the document, return the transition by the present rule.
    """
    transition = by_rule(True)
    if not transition.state.rules.lag_compensation or render_session(transition.state) == row.snapshot:
        return transition
    earlier = by_rule(False)
    return earlier if render_session(earlier.state) == row.snapshot else transition


def find_recovered_version(row: EventRow) -> int:
    """Return the version number from which the recovery of `row` continued the session."""
    args = None if row.args is None else orjson.loads(row.args)
    version = args.get("from_version") if isinstance(args, dict) else None
    return version if isinstance(version, int) else row.version - 1


def _finding(row: EventRow, kind: FindingKind, text: str) -> ReplayFinding:
    return ReplayFinding(row.epoch, row.version, kind, text)


def _differing(row: EventRow, transition: Transition) -> Iterator[str]:
    """Yield a description of each column in which a row differs from the row that the drain would build."""
    args = None if row.args is None else orjson.loads(row.args)
    cause = CommitCause(
        row.actor or "",
        row.command or "",
        args,
        row.command_id,
        row.fingerprint,
        row.expired_participant_id,
        row.role,
        None if row.on_behalf_of is None else str(row.on_behalf_of),
    )
    after = transition.state
    document = render_session(after)
    name = session_name(row.tenant, after.session_id)
    entry = OutboxEntry(name, after.epoch, after.version, render_event(transition, cause), document)
    expected = parse_entry(entry).event
    for name, found, wanted in zip(EventRow._fields, row, expected, strict=True):
        if found == wanted or name in _INPUTS:
            continue
        if name == "snapshot":
            yield from _differing_members(row.snapshot, document)
        elif name != "payload_hash":  # the hash follows from the snapshot, or already has a finding
            yield f"{name} is {_text(found)}, not {_text(wanted)}"


def _differing_charges(stored: tuple[Charge, ...] | None, expected: tuple[Charge, ...] | None) -> Iterator[str]:
    """Yield a description if the stored charges are not the expected charges. None is not compared."""
    if stored is None or expected is None or stored == expected:
        return
    yield f"charges are {_text(charge_rows(stored))}, not {_text(charge_rows(expected))}"


def _differing_members(stored: bytes, expected: bytes) -> Iterator[str]:
    """Yield a description of each JSON member in which two documents differ."""
    try:
        stored_members: Any = orjson.loads(stored)
    except orjson.JSONDecodeError:
        stored_members = None
    if not isinstance(stored_members, dict):
        yield "snapshot is not a JSON object"
        return
    members: dict[str, Any] = orjson.loads(expected)
    names = [
        name
        for name in members | stored_members
        if stored_members.get(name) != members.get(name) or (name in members) != (name in stored_members)
    ]
    if not names:
        yield "snapshot is the same JSON in different bytes"
    for name in names:
        yield f"snapshot.{name} is {_text(stored_members.get(name))}, not {_text(members.get(name))}"


def _text(value: object) -> str:
    text = value.isoformat() if isinstance(value, datetime) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= 80 else f"{text[:77]}…"
