"""Vectors for commands that a client predicts, made from the engine.

`python -m tests.unit.client.transition_vectors` writes the file. Each vector has a session's document, an instant,
and the results of several commands at this instant: for each command the merge patch that leads to the session's next
document. The patch is null if the command has another result than exactly one transition of its own, so that a client
must predict nothing. It is also null for `individual` and with rest days, because clients predict nothing there.
Values of `paused_by` are null, because a client does not know the name that the server records.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from synckairos.clock import creation, engine
from synckairos.clock.commands import Expire, Switch
from synckairos.clock.model import Session, SyncMode
from synckairos.frozen_replace import replace
from synckairos.wire.body_parser import parse_body, parse_command
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.document_merge_patch import key_lists_by_id, make_keyed_patch
from synckairos.wire.session_json import session_json
from tests.unit.client.reading_vectors import AGENDA, PAIR, SESSION, SPEECHES, START, T0, TEAMS, A, B
from tests.unit.client.reading_vectors import CASES as READING_CASES

FILE = Path(__file__).parents[2] / "vectors" / "transitions.json"

Json = dict[str, Any]
Step = tuple[int, str, Json]

MEASURED_LAG_MS = 80
"""Round trip in ms that the server has measured, in sessions with lag compensation."""

CLOCKS: dict[str, Json] = {
    "fischer with a cap": {"fischer": {"increment_ms": 9_000, "cap_ms": 62_000}},
    "bronstein": {"bronstein": {"delay_ms": 5_000}},
    "byo-yomi with an increment": {"byoyomi": {"periods": 2, "period_ms": 10_000, "increment_ms": 1_000}},
    "canadian with steps": {"canadian": {"moves": 1, "period_ms": 20_000, "moves_step": 2, "moves_max": 4}},
    "stages with increments": {
        "stages": [{"moves": 1, "add_ms": 30_000, "increment_ms": 1_000}, {"increment_ms": 500}]
    },
}

CASES: list[tuple[str, Json, list[Step]]] = [
    *((name, fields, steps) for name, fields, steps, _ in READING_CASES),
    *((name, {"total_time_ms": 60_000, "clock": clock}, [START]) for name, clock in CLOCKS.items()),
    (
        "canadian, a further period",
        {"total_time_ms": 0, "clock": CLOCKS["canadian with steps"]},
        [START, (1_000, "switch", {}), (2_000, "switch", {})],
    ),
    ("paused at zero", {"total_time_ms": 60_000, "on_timeout": "pause"}, [START, (60_000, "expire", {})]),
    (
        "paused at zero, per move",
        {"clock": {"per_move": {"move_ms": 30_000}}, "on_timeout": "pause"},
        [START, (30_000, "expire", {})],
    ),
    (
        "paused at zero, time added",
        {"total_time_ms": 60_000, "on_timeout": "pause"},
        [START, (60_000, "expire", {}), (61_000, "adjust", {"delta_ms": 5_000})],
    ),
    (
        "paused for two reasons",
        {"total_time_ms": 60_000},
        [START, (1_000, "pause", {}), (2_000, "pause", {"reason": "b"})],
    ),
    (
        "paused with a switch",
        {"total_time_ms": 60_000, "switch_while_paused": True},
        [START, (1_000, "pause", {})],
    ),
    ("overtime, begun", {"total_time_ms": 5_000, "on_timeout": "overtime"}, [START, (7_000, "switch", {})]),
    (
        "warnings",
        {"total_time_ms": 60_000, "warnings_ms": [59_000, 10_000]},
        [START, (2_000, "switch", {}), (2_500, "switch", {})],
    ),
    (
        "last cycle",
        {"sync_mode": "per_cycle", "time_per_cycle_ms": 60_000, "max_cycles": 2},
        [START, (2_000, "switch", {})],
    ),
    ("plan, last item", AGENDA, [START, (2_000, "switch", {"item_id": "c"})]),
    (
        "plan in a hold, named",
        SPEECHES | {"between_turns": "hold"},
        [START, (2_000, "switch", {})],
    ),
    (
        "plan, paused with a switch",
        SPEECHES | {"switch_while_paused": True},
        [START, (1_000, "pause", {})],
    ),
    (
        "soft close, reset",
        {"sync_mode": "global", "total_time_ms": 20_000, "extend_on_switch_ms": 15_000},
        [START, (8_000, "switch", {})],
    ),
    (
        "soft close, add",
        {
            "sync_mode": "global",
            "total_time_ms": 20_000,
            "extend_on_switch_ms": 15_000,
            "extend_by": "add",
            "extend_window_ms": 12_000,
            "max_extension_ms": 16_000,
            "max_extensions": 2,
        },
        [START, (9_000, "switch", {}), (9_500, "switch", {})],
    ),
    ("lag", {"total_time_ms": 60_000, "lag_compensation": True}, [START, (4_000, "switch", {"lag_ms": 90})]),
    (
        "participant out of the rotation",
        {"total_time_ms": 10_000, "on_timeout": "advance", "participants": [*PAIR, {"participant_id": SESSION}]},
        [START, (10_000, "expire", {})],
    ),
    (
        "group out of the rotation",
        {
            "sync_mode": "per_group",
            "on_timeout": "advance",
            "participants": TEAMS,
            "groups": [{"group_id": each["group_id"], "total_time_ms": 10_000} for each in TEAMS],
        },
        [START, (10_000, "expire", {})],
    ),
]

COMMANDS: tuple[tuple[str, Json], ...] = (
    ("start", {}),
    ("switch", {}),
    ("switch", {"current_participant_id": A, "next_participant_id": A}),
    ("switch", {"next_participant_id": B, "hold": True, "lag_ms": 500}),
    ("pause", {}),
    ("pause", {"reason": "coffee", "max_ms": 60_000}),
    ("resume", {}),
    ("resume", {"reason": "b"}),
    ("switch", {"item_id": "c"}),
    ("switch", {"item_id": "b", "hold": True}),
)


def vectors() -> Iterator[Json]:
    """Yield the vector of each case, with commands 700 ms after its last step."""
    for name, fields, steps in CASES:
        body = {"sync_mode": "per_participant", "participants": PAIR} | fields
        state = creation.create(parse_body(CreateSession, body).to_create(), SESSION, "vectors", T0).state
        for at_ms, verb, args in steps:
            state = _last_state(state, verb, args, at_ms)
        at_ms = (steps[-1][0] if steps else 0) + 700
        yield {
            "name": name,
            "session": _document(state),
            "now_ms": T0 + at_ms,
            "measured_lag_ms": MEASURED_LAG_MS,
            "results": [
                {"command": verb, "args": args, "patch": _patch(state, verb, args, at_ms)} for verb, args in COMMANDS
            ],
        }


def _last_state(state: Session, verb: str, args: Json, at_ms: int) -> Session:
    decision = _decide(state, verb, args, at_ms)
    assert decision.refusal is None, decision.refusal
    return decision.all_transitions[-1].state if decision.all_transitions else state


def _decide(state: Session, verb: str, args: Json, at_ms: int) -> engine.CommandDecision:
    command = Expire() if verb == "expire" else parse_command(verb, args).to_command()
    if isinstance(command, Switch):
        command = replace(command, measured_lag_ms=MEASURED_LAG_MS)
    return engine.apply(state, command, T0 + at_ms)


def _patch(state: Session, verb: str, args: Json, at_ms: int) -> Json | None:
    if state.rules.sync_mode is SyncMode.INDIVIDUAL or state.rules.rest is not None:
        return None
    decision = _decide(state, verb, args, at_ms)
    if decision.refusal is not None or decision.overdue or decision.follow_up or not decision.own:
        return None
    return make_keyed_patch(key_lists_by_id(_document(state)), key_lists_by_id(_document(decision.own[0].state)))


def _document(state: Session) -> Json:
    document: Json = orjson.loads(orjson.dumps(session_json(state)))
    return document | {"pauses": [each | {"paused_by": None} for each in document["pauses"]]}


def render() -> bytes:
    """Render the file, with one vector a line."""
    return b"[\n" + b",\n".join(map(orjson.dumps, vectors())) + b"\n]\n"


if __name__ == "__main__":
    FILE.write_bytes(render())
