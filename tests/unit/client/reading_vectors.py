"""Vectors for readings of a clock, made from the engine. `python -m tests.unit.client.reading_vectors` writes the file.

Each vector has a session's document, an instant, and what a client must show at that instant. The engine gives the
expected values in another way than the client: it pauses the session at that instant, or commits what was due. So the
file also serves clients in other languages.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from synckairos.clock import creation, engine
from synckairos.clock.commands import Command, Expire, Pause, Resume, Start, Switch, UpdateMetadata
from synckairos.clock.individual.clock_rows import ClockRows
from synckairos.clock.individual.row_clock import is_open, row_deadline_at_ms
from synckairos.clock.model import Session, Status, SyncMode
from synckairos.clock.rest_days import is_rest
from synckairos.clock.timing import deadline_at_ms, session_remaining_ms
from synckairos.frozen_replace import replace
from synckairos.wire.body_parser import parse_body, parse_command
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.session_json import session_json

FILE = Path(__file__).parents[2] / "vectors" / "readings.json"

T0 = 1_769_860_800_000
"""2026-01-31T12:00:00.000Z, the creation of every session here."""

SESSION = "0198c0de-0000-7000-8000-000000000001"
A, B = (f"0198c0de-0000-7000-8000-00000000000{at}" for at in "ab")
RED, BLUE = (f"0198c0de-0000-7000-8000-0000000000f{at}" for at in (1, 2))
PAIR = [{"participant_id": A}, {"participant_id": B}]
TEAMS = [{"participant_id": A, "group_id": RED}, {"participant_id": B, "group_id": BLUE}]

Json = dict[str, Any]
Step = tuple[int, str, Json]

START: Step = (0, "start", {})
ENDS = {"sync_mode": "global", "ends_at": "2026-01-31T12:01:00.000Z"}
ITEMS = [
    {"item_id": "a", "time_ms": 60_000, "warnings_ms": [50_000]},
    {"item_id": "b", "time_ms": 90_000},
    {"item_id": "c", "time_ms": 30_000},
]
AGENDA = {"sync_mode": "per_cycle", "warnings_ms": [20_000], "plan": ITEMS}
SPEECHES = AGENDA | {"plan": [ITEMS[0] | {"participant_id": B}, ITEMS[1], ITEMS[2] | {"participant_id": A}]}
RESTS = {"rest": {"weekdays": [7, 2], "utc_offset_minutes": 719}}
"""Rest days that begin 60 s after the creation (Sunday), and two days later (Tuesday)."""

LONG_AGENDA = AGENDA | RESTS | {"plan": [ITEMS[0] | {"time_ms": 1_300_000_000}, ITEMS[1], ITEMS[2]]}
STAGES_AT_ZERO = [{"at_zero": True, "add_ms": 20_000, "delay_ms": 5_000}, {"delay_ms": 40_000}]

ROOM = [{"participant_id": A}, {"participant_id": B, "time_factor": 1.25}]
EXAM = {"sync_mode": "individual", "total_time_ms": 60_000, "participants": ROOM}
EXAM_WITH_END = {"sync_mode": "individual", "ends_at": "2026-01-31T12:01:00.000Z", "participants": ROOM}
START_A: Step = (0, "start", {"participant_ids": [A]})

CASES: list[tuple[str, Json, list[Step], tuple[int, ...]]] = [
    ("pending", {"total_time_ms": 60_000}, [], (5_000,)),
    ("sudden death", {"total_time_ms": 60_000}, [START], (0, 1, 59_999)),
    ("days", {"total_time_ms": 34_560_000_000}, [START], (90_061_001,)),
    (
        "fischer after a switch",
        {"total_time_ms": 60_000, "increment_ms": 2_000},
        [START, (8_000, "switch", {})],
        (9_500,),
    ),
    ("delay stands still", {"total_time_ms": 60_000, "clock": {"delay": {"delay_ms": 5_000}}}, [START], (4_999, 5_001)),
    (
        "delay after a pause",
        {"total_time_ms": 60_000, "clock": {"delay": {"delay_ms": 5_000}}},
        [START, (3_000, "pause", {}), (9_000, "resume", {})],
        (10_500, 12_000),
    ),
    (
        "byo-yomi",
        {"total_time_ms": 60_000, "clock": {"byoyomi": {"periods": 3, "period_ms": 10_000}}},
        [START],
        (59_999, 60_000, 65_000, 70_000, 89_999),
    ),
    (
        "canadian",
        {"total_time_ms": 60_000, "clock": {"canadian": {"moves": 5, "period_ms": 30_000, "moves_step": 5}}},
        [START],
        (59_000, 60_000, 75_500),
    ),
    ("per move", {"clock": {"per_move": {"move_ms": 30_000}}}, [START, (7_000, "switch", {})], (17_000,)),
    ("hourglass", {"total_time_ms": 60_000, "clock": {"hourglass": {}}}, [START], (15_000,)),
    (
        "stages with a delay",
        {"total_time_ms": 60_000, "clock": {"stages": [{"moves": 1, "add_ms": 9_000, "delay_ms": 5_000}, {}]}},
        [START, (8_000, "switch", {})],
        (10_000, 20_000),
    ),
    (
        "stage that ends at zero",
        {"total_time_ms": 30_000, "clock": {"stages": STAGES_AT_ZERO}},
        [START],
        (34_999, 35_000, 39_999, 41_000, 59_000),
    ),
    (
        "overtime",
        {"total_time_ms": 60_000, "on_timeout": "overtime"},
        [START, (60_000, "expire", {})],
        (60_000, 75_250),
    ),
    (
        "overtime before its event",
        {"total_time_ms": 60_000, "on_timeout": "overtime"},
        [START],
        (59_000,),
    ),
    (
        "free first turn",
        {
            "total_time_ms": 60_000,
            "increment_ms": 2_000,
            "free_first_turn": {"limit_ms": 30_000},
            "warnings_ms": [20_000],
        },
        [START, (8_000, "switch", {})],
        (20_000, 37_999),
    ),
    (
        "turn after the free first turn",
        {"total_time_ms": 60_000, "free_first_turn": {"limit_ms": 30_000}},
        [START, (8_000, "switch", {}), (9_000, "switch", {})],
        (20_000,),
    ),
    ("pause", {"total_time_ms": 60_000}, [START, (5_000, "pause", {})], (50_000,)),
    ("hold", {"total_time_ms": 60_000, "between_turns": "hold"}, [START, (5_000, "switch", {})], (50_000,)),
    (
        "cycle",
        {"sync_mode": "per_cycle", "time_per_cycle_ms": 60_000},
        [START, (5_000, "switch", {})],
        (5_000, 20_000),
    ),
    (
        "group",
        {
            "sync_mode": "per_group",
            "participants": TEAMS,
            "groups": [{"group_id": RED, "total_time_ms": 60_000}, {"group_id": BLUE, "total_time_ms": 90_000}],
        },
        [START, (5_000, "switch", {})],
        (25_000,),
    ),
    ("global", {"sync_mode": "global", "total_time_ms": 60_000, "participants": []}, [START], (25_000,)),
    ("count up", {"sync_mode": "count_up"}, [START, (5_000, "switch", {})], (25_000,)),
    (
        "count up with a maximum",
        {"sync_mode": "count_up", "max_time_ms": 60_000, "initial_ms": 10_000},
        [START],
        (25_000,),
    ),
    (
        "start by itself",
        {"total_time_ms": 60_000, "starts_at": "2026-01-31T12:00:05.000Z"},
        [(5_000, "expire", {})],
        (12_500,),
    ),
    ("end, pending", ENDS, [], (5_000,)),
    ("end, pending with a start", ENDS | {"starts_at": "2026-01-31T12:00:20.000Z"}, [], (5_000,)),
    ("end", ENDS, [START, (5_000, "switch", {})], (5_000, 25_000, 59_999)),
    ("end during a pause", ENDS, [START, (5_000, "pause", {})], (5_000, 25_000, 59_999)),
    (
        "end in overtime during a pause",
        ENDS | {"on_timeout": "overtime"},
        [START, (5_000, "pause", {}), (60_000, "expire", {})],
        (60_000, 75_250),
    ),
    ("end, ended early", ENDS, [START, (5_000, "complete", {})], (25_000,)),
    ("plan, pending", AGENDA, [], (5_000,)),
    ("plan, pending with a start", AGENDA | {"starts_at": "2026-01-31T12:00:20.000Z"}, [], (5_000,)),
    ("plan", AGENDA, [START, (5_000, "switch", {})], (5_000, 25_000)),
    (
        "plan, jumped",
        AGENDA,
        [START, (5_000, "switch", {"item_id": "c"}), (6_000, "switch", {"item_id": "a"})],
        (9_000,),
    ),
    ("plan, paused", AGENDA, [START, (5_000, "pause", {})], (25_000,)),
    (
        "plan in a hold",
        AGENDA,
        [START, (5_000, "switch", {"hold": True}), (6_000, "adjust", {"delta_ms": 9_000})],
        (25_000,),
    ),
    ("plan in overtime", AGENDA | {"on_timeout": "overtime"}, [START, (60_000, "expire", {})], (75_250,)),
    ("plan of the participants", SPEECHES, [START, (5_000, "switch", {})], (25_000,)),
    (
        "plan, changed",
        AGENDA,
        [START, (5_000, "set_plan", {"plan": [*ITEMS, {"item_id": "d", "time_ms": 5_000}]})],
        (9_000,),
    ),
    ("plan, ahead of rest days", AGENDA | RESTS, [START, (5_000, "switch", {})], (25_000, 59_999)),
    (
        "plan on a rest day",
        AGENDA | RESTS,
        [START, (5_000, "switch", {}), (60_000, "expire", {})],
        (75_000,),
    ),
    ("plan, paused before rest days", AGENDA | RESTS, [START, (5_000, "pause", {})], (25_000, 75_000)),
    ("plan of weeks with rest days", LONG_AGENDA, [START], (5_000,)),
    ("plan, pending before rest days", AGENDA | RESTS, [], (5_000, 75_000)),
    ("plan, ended", AGENDA, [START, (5_000, "complete", {})], (25_000,)),
    ("ended", {"total_time_ms": 60_000}, [START, (60_000, "expire", {})], (99_000,)),
    ("individual, pending", EXAM, [], (5_000,)),
    ("individual", EXAM, [START], (5_000, 59_999, 60_000, 74_000)),
    (
        "individual, a late start and a pause",
        EXAM,
        [START_A, (20_000, "start", {}), (30_000, "pause", {"participant_ids": [A]})],
        (30_000, 45_500),
    ),
    ("individual, one finished", EXAM, [START, (5_000, "finish", {"participant_ids": [A]})], (25_000,)),
    (
        "individual in overtime",
        EXAM | {"on_timeout": "overtime"},
        [START, (60_000, "expire", {})],
        (60_000, 75_250),
    ),
    ("individual with an end", EXAM_WITH_END, [START], (5_000, 59_999, 60_000)),
    (
        "individual with an end, one paused and one waiting",
        EXAM_WITH_END,
        [START_A, (5_000, "pause", {})],
        (5_000, 25_000, 59_999),
    ),
    (
        "individual with a moved end",
        EXAM_WITH_END,
        [START, (5_000, "adjust", {"delta_ms": 10_000, "participant_ids": [B]})],
        (65_000,),
    ),
    ("individual, ended", EXAM, [START, (75_000, "expire", {})], (99_000,)),
]
"""Name, creation, steps, and instants of the readings. All times are in ms after the creation."""


def vectors() -> Iterator[Json]:
    """Yield all vectors."""
    for name, fields, steps, instants in CASES:
        body = {"sync_mode": "per_participant", "participants": PAIR} | fields
        state = creation.create(parse_body(CreateSession, body).to_create(), SESSION, "vectors", T0).state
        for at_ms, verb, args in steps:
            state = _decide(state, Expire() if verb == "expire" else parse_command(verb, args).to_command(), at_ms)
        for at_ms in instants:
            vector = {
                "name": f"{name}, {at_ms} ms",
                "now_ms": T0 + at_ms,
                "session": session_json(state),
                "shown": _shown(_stopped(state, at_ms)),
            }
            yield vector | {"expected_starts": _expected_starts(state, at_ms)} if state.plan else vector


def _decide(state: Session, command: Command, at_ms: int) -> Session:
    decision = engine.apply(state, command, T0 + at_ms)
    assert decision.refusal is None, decision.refusal
    return decision.all_transitions[-1].state if decision.all_transitions else state


def _expected_starts(state: Session, at_ms: int) -> dict[str, int]:
    """Return the instants at which the later items begin if the session goes on at `at_ms`.

    The engine plays the session to its end: it starts or resumes it, and ends each item at its zero, or at once.
    """
    starts: dict[str, int] = {}
    if state.status.is_final:
        return starts
    if state.status is Status.PENDING:
        at_ms = max(at_ms, (state.starts_at_ms or T0) - T0)
    if state.status is not Status.RUNNING and not _is_resting(state):
        began = state.turn_number
        starts_by_itself = state.status is Status.PENDING and state.starts_at_ms is not None
        command = Start() if state.status is Status.PENDING else Resume()
        state = _decide(state, Expire() if starts_by_itself else command, at_ms)
        if state.turn_number != began:
            starts[state.plan[state.item_position or 0].item_id] = T0 + at_ms
    while not state.status.is_final:
        if _is_resting(state):
            at_ms = max(at_ms, (state.pauses[0].lifts_at_ms or 0) - T0)
            state = _decide(state, Expire(), at_ms)
        assert state.anchor_ms is not None
        zero_ms = deadline_at_ms(state) or state.anchor_ms + (state.remaining_ms or 0)
        at_ms = max(at_ms, zero_ms - T0)
        ends = _decide(state, Expire(), at_ms)
        state = (
            ends if ends.turn_number != state.turn_number or ends.status.is_final else _decide(ends, Switch(), at_ms)
        )
        if not state.status.is_final:
            starts[state.plan[state.item_position or 0].item_id] = T0 + at_ms
    return starts


def _is_resting(state: Session) -> bool:
    return any(is_rest(each) for each in state.pauses)


def _stopped(state: Session, at_ms: int) -> Session:
    """Return the session with its clock stopped at an instant. The clock of a session with an end runs during a pause.

    So the result for a paused session with an end is a version at this instant.
    """
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        return _individual_stopped(state, at_ms)
    if state.status is Status.RUNNING:
        return _decide(state, Pause(), at_ms)
    if state.status is Status.PAUSED and state.ends_at_ms is not None:
        return _decide(state, UpdateMetadata({"read_at": at_ms}), at_ms)
    return state


def _individual_stopped(state: Session, at_ms: int) -> Session:
    """Return the session with all its clocks paused at an instant, and with the times to their own ends."""
    reached = _decide(state, Expire(), at_ms)
    if reached.status is Status.RUNNING:
        reached = _decide(reached, Pause(reason="reading"), at_ms)
    if reached.ends_at_ms is None or reached.started_at_ms is None:
        return reached
    rows = tuple(
        replace(row, remaining_ms=(row_deadline_at_ms(reached, row) or 0) - T0 - at_ms) if is_open(row) else row
        for row in reached.participants
    )
    return replace(reached, participants=ClockRows(rows))


def _shown(stopped: Session) -> Json:
    """Return what a client shows: the session's times, and those of each participant and group."""
    document = session_json(stopped)
    return {
        "time_used_ms": document["time_used_ms"],
        "time_remaining_ms": session_remaining_ms(stopped),
        "participants": {each["participant_id"]: _owner(each) for each in document["participants"]},
        "groups": {each["group_id"]: _owner(each) for each in document["groups"]},
    }


def _owner(document: Json) -> Json:
    facts = {name: value for name, value in document.get("reading", {}).items() if name in FACTS}
    return {"time_used_ms": document["time_used_ms"], "time_remaining_ms": document["time_remaining_ms"]} | facts


FACTS = ("phase", "periods_left", "moves_left", "stage", "period_moves")


def render() -> bytes:
    """Render the file."""
    return orjson.dumps([*vectors()], option=orjson.OPT_INDENT_2) + b"\n"


if __name__ == "__main__":
    FILE.write_bytes(render())
