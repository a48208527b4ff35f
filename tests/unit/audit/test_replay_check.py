"""Replay of rows whose lag accounts follow the rule of early versions, which did not count byo-yomi."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import orjson
import pytest

from synckairos.audit.entry_rows import EventRow, parse_entry
from synckairos.audit.replay_check import AuditReplayCheck
from synckairos.clock import creation, engine
from synckairos.clock.commands import AddParticipant, with_actor
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.clock.transition import Transition
from synckairos.frozen_replace import replace
from synckairos.wire.body_parser import parse_audited_args, parse_body
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.outbox_entry import CommitCause, OutboxEntry, render_event
from synckairos.wire.session_json import render_session

T0 = 1_700_000_000_123
SESSION = "01890000-0000-7000-8000-000000000000"
ALICE, BOB, CAROL = (f"aaaaaaaa-0000-4000-8000-00000000000{at}" for at in range(3))
BODY = {
    "sync_mode": "per_participant",
    "participants": [{"participant_id": ALICE, "total_time_ms": 0}, {"participant_id": BOB, "total_time_ms": 60_000}],
    "clock": {"byoyomi": {"periods": 5, "period_ms": 30_000}},
    "lag_compensation": True,
}
COMMANDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("start", {}),
    ("switch", {"lag_ms": 900, "measured_lag_ms": 900}),
    ("add_participant", {"participant_id": CAROL, "total_time_ms": 1_000}),
    ("switch", {"lag_ms": 900, "measured_lag_ms": 900}),
    ("pause", {"reason": "tea", "taken_by": f"participant:{ALICE}"}),
    ("pause", {"reason": "rain"}),
    ("resume", {"taken_by": f"participant:{ALICE}"}),
)


def rows(creator_counts: bool, joiner_counts: bool) -> Iterator[EventRow]:
    """Yield the rows of a session.

    One server version created the session and another changed it, with different lag rules.
    """
    spec = parse_body(CreateSession, BODY).to_create()
    people = tuple(replace(each, counts_byoyomi=creator_counts) for each in spec.participants)
    transition = creation.create(replace(spec, participants=people), SESSION, "e1", T0)
    yield row_of(transition, "create", BODY)
    for at, (verb, args) in enumerate(COMMANDS, start=1):
        command = with_actor(parse_audited_args(verb, args).to_command(), "tester")
        if isinstance(command, AddParticipant):
            command = AddParticipant(replace(command.participant, counts_byoyomi=joiner_counts))
        (transition,) = engine.apply(transition.state, command, T0 + 10_000 * at).all_transitions
        yield row_of(transition, verb, args)


def row_of(transition: Transition, verb: str, args: dict[str, Any]) -> EventRow:
    state = transition.state
    event = render_event(transition, CommitCause("tester", verb, args))
    return parse_entry(OutboxEntry(SESSION, state.epoch, state.version, event, render_session(state))).event


def gains(row: EventRow) -> list[int]:
    return [each["lag"]["gain_ms"] for each in orjson.loads(row.snapshot)["participants"]]


@pytest.mark.parametrize(
    ("creator_counts", "joiner_counts", "expected"),
    [
        (False, False, [150, 390, 154]),
        (False, True, [150, 390, 1_000]),
        (True, False, [1_000, 1_000, 154]),
        (True, True, [1_000, 1_000, 1_000]),
    ],
)
def test_lag_accounts_of_either_rule_replay_without_findings(
    creator_counts: bool, joiner_counts: bool, expected: list[int]
) -> None:
    stored = list(rows(creator_counts, joiner_counts))
    assert gains(stored[-1]) == expected
    replay = AuditReplayCheck(OutageChargePolicy())
    assert [finding for row in stored for finding in replay.replay_row(row)] == []


@pytest.mark.parametrize("at", [0, 3])
def test_lag_account_of_neither_rule_is_a_mismatch(at: int) -> None:
    stored = list(rows(False, False))
    changed = stored[at].snapshot.replace(b'"gain_ms":15', b'"gain_ms":25')
    row = stored[at]._replace(snapshot=changed, payload_hash=sha256(changed).digest())
    replay = AuditReplayCheck(OutageChargePolicy())
    for earlier in stored[:at]:
        assert list(replay.replay_row(earlier)) == []
    (finding,) = replay.replay_row(row)
    assert finding.kind == "mismatch"
    assert "snapshot.participants" in finding.text
