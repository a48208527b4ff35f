"""Conversion of outbox entries to rows: the columns, and every kind of invalid entry."""

import hashlib
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.audit.entry_rows import ParsedEntry, build_batch_rows, parse_entry
from synckairos.clock import creation, engine
from synckairos.clock.commands import (
    Command,
    Complete,
    Create,
    Delete,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Start,
    Switch,
)
from synckairos.clock.model import SyncMode
from synckairos.frozen_replace import replace
from synckairos.wire.outbox_entry import CommitCause, OutboxEntry, render_event
from synckairos.wire.session_json import render_session

T0 = 1_700_000_000_123
SESSION = "01890000-0000-7000-8000-000000000000"
ALICE = "aaaaaaaa-0000-4000-8000-000000000001"
BOB = "bbbbbbbb-0000-4000-8000-000000000002"


def entries(*commands: Command, **more: object) -> list[OutboxEntry]:
    """Return the outbox entries of one session with one command in each second."""
    spec = Create(
        SyncMode.PER_PARTICIPANT,
        tuple(NewParticipant(each, total_time_ms=600_000) for each in (ALICE, BOB)),
        **more,  # type: ignore[arg-type]
    )
    transitions = [creation.create(spec, SESSION, "e1", T0)]
    for at, command in enumerate(commands, start=1):
        transitions += engine.apply(transitions[-1].state, command, T0 + 1000 * at).all_transitions
    cause = CommitCause("tester", "x", {"n": 1}, "id", "print")
    return [
        OutboxEntry(SESSION, "e1", each.state.version, render_event(each, cause), render_session(each.state))
        for each in transitions
    ]


def parse_entries(*commands: Command, **more: object) -> list[ParsedEntry]:
    return [parse_entry(entry) for entry in entries(*commands, **more)]


def test_an_event_row_has_the_event_and_the_bytes_of_the_document() -> None:
    (_, _, entry) = entries(Start(), Switch())
    row = parse_entry(entry).event
    assert (row.session_id, row.epoch, row.version) == (UUID(SESSION), "e1", 3)
    assert row.occurred_at.timestamp() * 1000 == T0 + 2000
    assert (row.event_type, row.participant_id, row.time_used_ms) == ("cycle_switched", UUID(ALICE), 1000)
    assert (row.actor, row.command, row.args, row.command_id, row.fingerprint) == (
        "tester", "x", '{"n":1}', "id", "print",
    )  # fmt: skip
    assert row.snapshot is entry.document
    assert row.payload_hash == hashlib.sha256(entry.document).digest()
    assert not row.deleted


@pytest.mark.parametrize(
    ("commands", "status", "running"),
    [
        ((), "pending", None),
        ((Start(),), "running", ALICE),
        ((Start(), Switch()), "running", BOB),
        ((Start(), Pause()), "paused", None),
        ((Start(), Complete()), "completed", None),
        ((Start(), Delete()), "cancelled", None),
    ],
)
def test_an_event_row_names_the_participant_whose_time_runs(
    commands: tuple[Command, ...], status: str, running: str | None
) -> None:
    row = parse_entries(*commands)[-1].event
    assert (row.status, row.running_participant_id) == (status, None if running is None else UUID(running))


def test_projections_come_from_the_newest_version_in_any_order_of_entries() -> None:
    history = parse_entries(Start(), Switch(), Complete())
    for order in (history, history[::-1]):
        rows = build_batch_rows(order)
        (session,) = rows.sessions
        assert (session.version, session.status, session.deleted_at) == (4, "completed", None)
        assert session.started_at is not None
        assert session.completed_at is not None
        assert [row.version for row in rows.events] == [each.event.version for each in order]
        assert {part.participant_id: part.time_used_ms for part in rows.participants} == {
            UUID(ALICE): 1000,
            UUID(BOB): 1000,
        }
        assert {part.began_at for part in rows.participants} == {session.started_at}


def test_the_session_row_of_a_tombstone_has_deleted_at() -> None:
    (session,) = build_batch_rows(parse_entries(Delete())).sessions
    assert session.deleted_at is not None


def test_a_removed_participant_keeps_a_participant_row() -> None:
    rows = build_batch_rows(parse_entries(Start(), Switch(), RemoveParticipant(ALICE), Switch()))
    left = next(part for part in rows.participants if part.participant_id == UUID(ALICE))
    assert (left.time_used_ms, left.participant_index, left.cycle_count) == (1000, None, None)
    assert left.left_at is not None
    assert len(rows.participants) == 2


def test_u0000_is_replaced_in_columns_and_kept_in_the_snapshot() -> None:
    (entry,) = entries(metadata={"a\0": "\0"})
    one = parse_entry(replace(entry, event=orjson.dumps(orjson.loads(entry.event) | {"command_id": "x\0y"})))
    assert one.event.command_id == "x\ufffdy"
    assert orjson.loads(build_batch_rows([one]).sessions[0].metadata) == {"a\ufffd": "\ufffd"}
    assert orjson.loads(one.event.snapshot)["metadata"] == {"a\0": "\0"}


@pytest.mark.parametrize(
    "change",
    [
        {"session_name": "no-uuid"},
        {"session_name": "01890000-0000-7000-8000-000000000001"},
        {"version": 2},
        {"event": b"{}"},
        {"event": b"[]"},
        {"event": b"null"},
        {"event": b"{"},
        {"event": b'{"event_type": "x", "occurred_at_ms": "soon"}'},
        {"event": b'{"event_type": "x", "occurred_at_ms": 1e30}'},
        {"event": b'{"event_type": "x", "occurred_at_ms": 1, "participant_id": "no-uuid"}'},
        {"document": b"{}"},
        {"document": b"7"},
        {"document": b"\xff"},
    ],
)
def test_an_invalid_entry_is_a_value_error(change: dict[str, object]) -> None:
    (entry,) = entries()
    with pytest.raises(ValueError):  # noqa: PT011 - any fault of any field comes as this one
        parse_entry(replace(entry, **change))  # type: ignore[arg-type]


@given(event=st.binary(max_size=50), state=st.binary(max_size=50))
def test_random_bytes_are_a_value_error(event: bytes, state: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any fault of any field comes as this one
        parse_entry(OutboxEntry(SESSION, "e1", 1, event, state))


def test_a_document_without_participants_is_a_value_error() -> None:
    (entry,) = entries()
    document = orjson.loads(entry.document)
    del document["participants"]
    one = parse_entry(replace(entry, document=orjson.dumps(document)))
    with pytest.raises(ValueError, match="participants"):
        build_batch_rows([one])
