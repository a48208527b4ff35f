"""The event catalogue against the engine: which event comes in which mode, from which command, and what it carries."""

import itertools
import re
from collections.abc import Iterator

import orjson
import pytest

from synckairos.audit.entry_rows import EventRow
from synckairos.audit.stored_snapshots import StoredSnapshot
from synckairos.clock.model import TURN_MODES, OnTimeout, SyncMode
from synckairos.clock.transition import EventType
from synckairos.history.audit_trail import trail_event_from_entry
from synckairos.realtime.session_update import SessionUpdate
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.event_json import event_columns, event_json
from synckairos.wire.feed_message import EVENTS_SENT, FeedMessage
from synckairos.wire.outbox_entry import OutboxEntry, render_event
from synckairos.wire.session_json import render_session
from synckairos.wire.tabular import render_csv_pieces
from synckairos.wire.v3_messages import event_frame
from synckairos.wire.webhooks import render_event_message
from synckairos.wire.websocket_frames import extract_text_payload
from tests.unit.docs.event_runs import LATE, T0, A, B, Json, Produced, Step, play, produced_by
from tests.unit.docs.pages import Row, code_blocks, code_words, read_page, table_after

Triple = tuple[str, str, str]
"""An event type, a mode, and the command that produces the one in the other."""

PAGE = read_page("events.md")
EXAMPLES = read_page("event-examples.md")

REACHED_BY: dict[str, list[Step]] = {
    "pending": [],
    "running": [(0, "start", {})],
    "in the last turn": [(0, "start", {}), (1_000, "switch", {})],
    "paused": [(0, "start", {}), (1_000, "pause", {"reason": "tea", "max_ms": 5_000})],
    "at zero": [(0, "start", {}), (60_000, "expire", {})],
    "over": [(0, "start", {}), (1_000, "complete", {})],
}
PLAN: list[Json] = [{"time_ms": 60_000}, {"time_ms": 60_000}]
WITH_PLAN: Json = {"time_per_cycle_ms": None, "max_cycles": None, "plan": PLAN}

REACHED_IN_INDIVIDUAL_BY: dict[str, list[Step]] = {
    "one runs": [(0, "start", {"participant_ids": [A]})],
    "one is finished": [(0, "start", {}), (1_000, "finish", {"participant_ids": [A]})],
}
ARGUMENTS: dict[str, list[Json]] = {
    "adjust": [{"delta_ms": 5_000}, {"delta_ms": -86_400_000}],
    "add_participant": [{"participant_id": LATE, "total_time_ms": 60_000, "group_id": A}],
    "remove_participant": [{"participant_id": A}],
    "update_participant": [{"participant_id": A, "display_name": "Anna"}],
    "update_metadata": [{"metadata": {"round": 2}}],
    "done": [{"participant_id": A}],
    "reopen": [{"delta_ms": 5_000}, {}],
    "amend": [{"completed_at": "2026-01-31T12:00:00.500Z"}],
    "set_plan": [{"plan": [{"item_id": "late", "time_ms": 5_000}]}, {"plan": [*PLAN, {"time_ms": 5_000}]}],
    "announce": [{"text": "Tea"}],
    "screen": [{"mode": "focus"}],
    "update_session": [{"labels": {"round": "2"}}, {"starts_at": "2026-01-31T13:00:00.000Z"}],
}


RECORDED: Json = {
    "started_at": "2026-01-31T11:59:00.000Z",
    "completed_at": "2026-01-31T11:59:50.000Z",
    "breaks": [{"from": "2026-01-31T11:59:20.000Z", "to": "2026-01-31T11:59:40.000Z"}],
}


def attempts() -> Iterator[Step]:
    """Yield every command at an early and at a late instant, and time alone."""
    for at_ms, verb in itertools.product((2_000, 55_000, 200_000), (*COMMAND_BODIES, "expire", "recover", "import-v2")):
        for args in ARGUMENTS.get(verb, [{}]):
            yield at_ms, verb, args


def explored() -> set[Triple]:
    """Return what happens if every command is tried in every status, in every mode and with every `on_timeout`."""
    found: set[Triple] = set()
    everyone: list[Step] = [(0, "start", {})]
    for turn in range(2):
        everyone += [(turn * 1_000, "done", {"participant_id": each}) for each in (A, B)]
    for mode in TURN_MODES:
        produced = play(mode, everyone, close_when_all_done=True)
        found |= {(each.event_type, str(mode), each.cause.command) for each in produced}
    for mode in SyncMode:
        produced = play(mode, [(1_000, "expire", {})], starts_at="2026-01-31T12:00:01.000Z")
        found |= {(each.event_type, str(mode), each.cause.command) for each in produced}
    changed: list[Step] = [(0, "amend", {"breaks": []})]
    limited = play("per_participant", [(0, "start", {}), (1_000, "expire", {})], free_first_turn={"limit_ms": 1_000})
    found |= {(each.event_type, "per_participant", each.cause.command) for each in limited}
    for steps in ([], changed):
        produced = play("count_up", steps, participants=[{"participant_id": A}], recorded=RECORDED)
        found |= {(each.event_type, "count_up", each.cause.command) for each in produced}
    forms: list[tuple[SyncMode, Json]] = [*((mode, {}) for mode in TURN_MODES), (SyncMode.PER_CYCLE, WITH_PLAN)]
    individual: list[tuple[SyncMode, Json]] = [(SyncMode.INDIVIDUAL, {})]
    reached_in_individual_by = REACHED_BY | REACHED_IN_INDIVIDUAL_BY
    runs = [
        *itertools.product(forms, OnTimeout, REACHED_BY.values()),
        *itertools.product(individual, (OnTimeout.EXPIRE, OnTimeout.OVERTIME), reached_in_individual_by.values()),
    ]
    for (mode, fields), on_timeout, steps in runs:
        produced = play(mode, steps, on_timeout=str(on_timeout), warnings_ms=[10_000], **fields)
        state, earlier = produced[-1].transition.state, tuple(produced)
        for step in attempts():
            if step[1] == "recover" and state.status.is_final:
                continue  # a final session is restored as it was
            if step[1] == "import-v2" and mode is SyncMode.INDIVIDUAL:
                continue  # v2 does not have this mode
            produced += produced_by(state, step, earlier)
        found |= {(each.event_type, str(mode), each.cause.command) for each in produced}
    return found


def catalogue() -> dict[str, Row]:
    """Return the catalogue's rows by event type."""
    rows = {code_words(row["event type"])[0]: row for row in table_after(PAGE, "## Catalogue")}
    assert len(rows) == len(table_after(PAGE, "## Catalogue"))
    return rows


def listed() -> set[Triple]:
    """Return what the catalogue says: `switch` in `per_cycle` is about that mode alone. `turns`: modes with turns."""
    found: set[Triple] = set()
    for event_type, row in catalogue().items():
        named = {"all": [str(mode) for mode in SyncMode], "turns": [str(mode) for mode in TURN_MODES]}
        modes = named.get(row["modes"]) or code_words(row["modes"])
        for part in row["command"].split(";"):
            command, *only = code_words(part)
            found |= {(event_type, mode, command) for mode in only or modes}
    return found


def example_runs() -> dict[str, list[Produced]]:
    """Return the sessions that the examples are taken from, by name."""
    start: Step = (0, "start", {})
    later: list[Step] = [
        (2_000, "switch", {"current_participant_id": A}),
        (3_000, "adjust", {"delta_ms": 5_000, "participant_ids": [B]}),
        (4_000, "add_participant", {"participant_id": LATE, "total_time_ms": 60_000}),
        (5_000, "remove_participant", {"participant_id": LATE}),
        (6_000, "update_metadata", {"metadata": {"round": 2}}),
        (7_000, "pause", {"reason": "tea"}),
        (9_000, "resume", {}),
        (10_000, "complete", {}),
        (11_000, "delete", {}),
    ]
    return {
        "chess": play("per_participant", [start, *later]),
        "out": play("per_participant", [start, (60_000, "expire", {})], on_timeout="advance"),
        "teams": play("per_group", [start, (60_000, "expire", {})], on_timeout="advance"),
        "quiz": play("per_cycle", [start, (60_000, "expire", {})]),
        "flag": play("per_participant", [start, (60_000, "expire", {})], warnings_ms=[10_000]),
        "over": play("global", [start, (60_000, "expire", {})], on_timeout="overtime"),
        "lost": play("global", [start, (30_000, "recover", {})], participants=[]),
        "v2": play("global", [start, (30_000, "import-v2", {})], participants=[]),
        "by itself": play("global", [(1_000, "expire", {})], starts_at="2026-01-31T12:00:01.000Z"),
        "labels": play("global", [start, (2_000, "update_session", {"labels": {"round": "2"}})]),
        "audience": play("global", [start, (2_000, "announce", {"text": "Tea"}), (3_000, "screen", {"mode": "focus"})]),
        "reopened": play("global", [start, (60_000, "expire", {}), (70_000, "reopen", {"delta_ms": 5_000})]),
        "entry": play(
            "count_up",
            [(5_000, "amend", {"started_at": "2026-01-31T11:59:10.000Z", "breaks": []})],
            participants=[{"participant_id": A}],
            recorded=RECORDED,
        ),
        "takeback": play("per_participant", [start, (10_000, "switch", {}), (15_000, "undo", {"charge": "mover"})]),
        "berserk": play(
            "per_participant",
            [start, (1_000, "update_participant", {"participant_id": B, "total_time_ms": 30_000})],
        ),
        "ready": play("per_cycle", [start, (2_000, "done", {"participant_id": B})]),
        "agenda, over": play("per_cycle", [start, (120_000, "expire", {})], **WITH_PLAN),
        "agenda": play("per_cycle", [start, (2_000, "set_plan", {"plan": [*PLAN, {"time_ms": 5_000}]})], **WITH_PLAN),
        "off": play("count_up", [start, (1_000, "cancel", {})]),
        "exam": play(
            "individual",
            [
                (0, "start", {"participant_ids": [A]}),
                (5_000, "start", {"participant_ids": [B]}),
                (9_000, "pause", {"reason": "tea"}),
                (11_000, "resume", {"participant_ids": [B]}),
                (20_000, "finish", {"participant_ids": [B]}),
            ],
        ),
    }


def trail_event(produced: Produced, *, snapshots: bool = False) -> Json:
    """Return a transition as `GET /v1/sessions/{id}/events` shows it."""
    event: Json = orjson.loads(
        orjson.dumps(event_json(trail_event_from_entry(outbox_entry(produced), snapshots), shows_actor=True))
    )
    return event


def outbox_entry(produced: Produced) -> OutboxEntry:
    after = produced.transition.state
    event = render_event(produced.transition, produced.cause)
    return OutboxEntry(after.session_id, after.epoch, after.version, event, render_session(after))


# -- the catalogue ----------------------------------------------------------------------------------------------------


def test_catalogue_lists_every_event_type_once() -> None:
    assert sorted(catalogue()) == sorted(str(each) for each in EventType)
    assert f"lists the {len(EventType)} event types" in PAGE


def test_catalogue_lists_exactly_the_modes_and_commands_that_produce_each_event() -> None:
    assert sorted(listed()) == sorted(explored())


def test_catalogue_marks_exactly_the_events_that_have_a_frame() -> None:
    marked = {event_type for event_type, row in catalogue().items() if row["EVENT"] == "yes"}
    assert marked == {str(each) for each in EVENTS_SENT}
    by_time = {event_type for event_type, row in catalogue().items() if row["EVENT"] == "by time"}
    caused_by_time = {event_type for event_type, _, command in listed() if command == "expire"}
    assert by_time == caused_by_time - marked
    for produced in itertools.chain(*example_runs().values()):
        is_by_time = produced.event_type in by_time and produced.cause.command == "expire"
        message = FeedMessage.from_transition(
            produced.transition, render_session(produced.transition.state), is_by_time=produced.cause.is_time
        )
        assert SessionUpdate.from_message(message, T0).is_event == (produced.event_type in marked or is_by_time)


def test_events_that_concern_the_session_name_no_participant() -> None:
    about_session = {event_type for event_type, row in catalogue().items() if row["concerns"] == "session"}
    named = {p.event_type for p in itertools.chain(*example_runs().values()) if p.transition.event.participant_id}
    assert not named & about_session


# -- what an event carries --------------------------------------------------------------------------------------------


def members(column: str) -> list[str]:
    """Return the members that a form has, in the order of the page."""
    names = []
    for row in table_after(PAGE, "## Members"):
        if row[column] != "no":
            renamed = code_words(row[column])
            names += renamed or [code_words(row["member"])[0]]
    return names


def test_members_of_the_trail_are_the_columns_of_its_csv() -> None:
    assert members("trail") == [*event_columns(snapshots=True)]


def test_members_of_the_audit_row_are_its_columns() -> None:
    # `event` and `change` are no columns, and Postgres itself fills `recorded_at`.
    columns = {*EventRow._fields, *StoredSnapshot._fields, "recorded_at"} - {"event", "change"}
    assert sorted(members("audit row")) == sorted(columns)


@pytest.mark.parametrize("name", example_runs())
def test_members_of_each_form_are_those_that_the_page_lists(name: str) -> None:
    for produced in example_runs()[name]:
        shown = trail_event_from_entry(outbox_entry(produced), snapshots=True)
        assert set(event_json(shown, shows_actor=True)) <= set(members("trail"))
        webhook = orjson.loads(render_event_message(outbox_entry(produced).session_id, shown))
        assert set(webhook) == {"type", "timestamp", "data"}
        assert set(webhook["data"]) <= set(members("webhook"))
        frame = orjson.loads(
            extract_text_payload(event_frame(FeedMessage.from_transition(produced.transition, b"{}"), T0))
        )
        assert set(frame) <= {"type", *members("EVENT")}


def test_the_forms_of_one_event_are_real() -> None:
    produced = next(each for each in example_runs()["out"] if each.event_type == "participant_expired")
    trail, webhook, frame = map(orjson.loads, code_blocks(PAGE, "json"))
    (table,) = code_blocks(PAGE, "csv")
    assert trail == trail_event(produced)
    lines = render_csv_pieces(event_columns(snapshots=False), [trail_event(produced)])
    assert table == b"".join(lines).decode().replace("\r\n", "\n")
    session_id = produced.transition.state.session_id
    assert webhook == orjson.loads(
        render_event_message(session_id, trail_event_from_entry(outbox_entry(produced), snapshots=False))
    )
    message = FeedMessage.from_transition(produced.transition, b"{}")
    assert frame == orjson.loads(extract_text_payload(event_frame(message, frame["server_time_ms"])))


# -- the examples -----------------------------------------------------------------------------------------------------


def test_examples_show_each_event_type_once_in_the_order_of_the_catalogue() -> None:
    assert re.findall(r"^## `(\w+)`$", EXAMPLES, re.MULTILINE) == list(catalogue())


def test_each_example_is_what_the_engine_produces() -> None:
    real = [trail_event(each) for each in itertools.chain(*example_runs().values())]
    shown = [orjson.loads(block) for block in code_blocks(EXAMPLES, "json")]
    assert [each["event_type"] for each in shown] == list(catalogue())
    assert [each for each in shown if each not in real] == []
