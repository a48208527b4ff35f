"""Examples for the API descriptions: request bodies, responses and socket messages, all about one chess session.

Tests validate every example with its model. The clock engine calculates the session state from example commands.
"""

from functools import cache
from typing import Any

import orjson

from synckairos import __version__
from synckairos.wire.simulation_run import run_simulation

Json = dict[str, Any]

SESSION_ID = "0198c0de-0000-7000-8000-000000000001"
WHITE_ID = "0198c0de-0000-7000-8000-00000000000a"
BLACK_ID = "0198c0de-0000-7000-8000-00000000000b"
LATE_PLAYER_ID = "0198c0de-0000-7000-8000-00000000000c"
EPOCH = "5f3a9c0e71d2b846"
VERSION_TAGS = {2: "c41e07b9d3a86f52", 3: "08d7f2e6519bca34", 4: "7ab3916c0ef85d2b"}
"""Tags of the example session, by version."""
NOW_MS = 1_769_860_804_321

CREATE_BODY: Json = {
    "session_id": SESSION_ID,
    "sync_mode": "per_participant",
    "increment_ms": 2_000,
    "participants": [
        {"participant_id": WHITE_ID, "display_name": "White", "total_time_ms": 300_000},
        {"participant_id": BLACK_ID, "display_name": "Black", "total_time_ms": 300_000},
    ],
}

REQUEST_BODIES: Json = {
    "CreateSession": CREATE_BODY,
    "StartBody": {},
    "SwitchBody": {"current_participant_id": WHITE_ID},
    "DoneBody": {"participant_id": WHITE_ID},
    "AmendBody": {"completed_at": "2026-01-31T16:30:00.000Z", "reason": "forgotten to stop"},
    "FinishBody": {"participant_ids": [WHITE_ID]},
    "PauseBody": {"reason": "break", "max_ms": 600_000},
    "ResumeBody": {"reason": "break"},
    "AdjustBody": {"delta_ms": 30_000, "participant_ids": [BLACK_ID]},
    "CompleteBody": {},
    "CancelBody": {},
    "AnnounceBody": {"text": "Five minutes left", "tone": "warning", "until": "2026-01-31T16:35:00.000Z"},
    "ScreenBody": {"mode": "focus"},
    "SetPlanBody": {
        "plan": [
            {"item_id": "opening", "title": "Opening", "time_ms": 300_000},
            {"item_id": "budget", "title": "Budget", "time_ms": 900_000, "warnings_ms": [60_000]},
        ],
        "expected_version": 3,
    },
    "UndoBody": {"turns": 1, "charge": "mover"},
    "ReopenBody": {"delta_ms": 30_000, "reason": "flag by mistake"},
    "JoinBody": {"participant_id": LATE_PLAYER_ID, "display_name": "Late", "total_time_ms": 300_000},
    "UpdateParticipantBody": {"participant_id": BLACK_ID, "total_time_ms": 150_000, "clock": {"sudden_death": {}}},
    "ParticipantChangesBody": {"total_time_ms": 150_000, "clock": {"sudden_death": {}}},
    "MetadataBody": {"metadata": {"round": 2, "arbiter": None}},
    "SessionChangesBody": {"labels": {"tournament": "spring", "round": None}},
    "PatchBody": {"metadata": {"round": 2, "arbiter": None}, "labels": {"tournament": "spring"}},
    "CreateWebhook": {"url": "https://example.org/hooks", "event_types": ["session_expired"]},
    "PatchWebhook": {"enabled": True},
    "RotateSecret": {"overlap_s": 3_600},
    "SimulationBody": {
        "session": CREATE_BODY,
        "commands": [{"at_ms": 0, "command": "start"}, {"at_ms": 4_321, "command": "switch"}],
        "until_ms": 400_000,
    },
}
"""Example request bodies, by the name of their model."""


@cache
def example_state() -> Json:
    """Return the JSON object of the example session after its first move. Each call returns the same values."""
    moves = [{"at_ms": 0, "command": "start"}, {"at_ms": 4_321, "command": "switch"}]
    final = run_simulation({"session": CREATE_BODY, "commands": moves, "until_ms": 4_321})["final"]
    # Replace the date, because a simulation begins at the Unix epoch.
    text = orjson.dumps(final | {"epoch": EPOCH}).replace(b"1970-01-01T00:", b"2026-01-31T12:")
    state: Json = orjson.loads(text)
    return state


@cache
def example_answers() -> Json:
    """Return example response bodies, by the name of their model."""
    switched = ("session_id", "active_participant_id", "cycle_started_at", "participants", "status", "version")
    return {
        "SessionAnswer": {"data": example_state()},
        "SwitchAnswer": {"data": {name: example_state()[name] for name in switched}},
        "TimeView": {"timestamp_ms": NOW_MS, "server_version": __version__, "drift_tolerance_ms": 50},
    }


def v3_message_examples() -> Json:
    """Return one example of each `synckairos.v3` message, by message type."""
    at = {"session_id": SESSION_ID, "version": 3, "server_time_ms": NOW_MS, "epoch": EPOCH}
    tagged = at | {"tag": VERSION_TAGS[3]}
    timed = {"session_id": SESSION_ID, "server_time_ms": NOW_MS}
    patch = {
        "version": 4,
        "active_participant_id": WHITE_ID,
        "participants": {BLACK_ID: {"is_active": False}, WHITE_ID: {"is_active": True}},
    }
    warning = {"event_type": "time_warning", "at": "2026-01-31T12:04:00.000Z", "participant_id": BLACK_ID}
    roles = {"participant": 2, "viewer": 1}
    times = {"t1": NOW_MS, "t2": NOW_MS, "error_ms": 0.412}
    examples: list[Json] = [
        {
            "type": "SUBSCRIBE", "id": "s1", "session_id": SESSION_ID, "epoch": EPOCH, "version": 2,
            "tag": VERSION_TAGS[2],
        },
        {"type": "UNSUBSCRIBE", "id": "u1", "session_id": SESSION_ID},
        {
            "type": "COMMAND", "id": "press-17", "session_id": SESSION_ID, "command": "switch",
            "args": {"current_participant_id": WHITE_ID},
        },
        {"type": "PING", "id": "p1", "t0": 1234.5},
        {"type": "STATE_SYNC", **tagged, "reply_to": "s1", "recovered": False, "state": example_state()},
        {"type": "STATE_UPDATE", **tagged, "state": example_state()},
        {"type": "STATE_DELTA", **at, "version": 4, "tag": VERSION_TAGS[4], "from_version": 3, "patch": patch},
        {"type": "EVENT", **at, **warning},
        {"type": "PRESENCE", **timed, "clients": 3, "roles": roles, "participants": [WHITE_ID, BLACK_ID]},
        {"type": "ACK", **at, "reply_to": "press-17"},
        {
            "type": "ERROR", **timed, "reply_to": "press-17", "code": "NOT_ACTIVE_PARTICIPANT",
            "message": f"Participant {WHITE_ID} is not active", "details": {"active_participant_id": BLACK_ID},
        },
        {"type": "PONG", "server_time_ms": NOW_MS, "reply_to": "p1", "t0": 1234.5, **times},
        {"type": "AUTH", "id": "a1", "token": "eyJhbGciOi…"},
        {"type": "REFRESH", "id": "r1", "token": "eyJhbGciOi…"},
        {"type": "AUTHENTICATED", "server_time_ms": NOW_MS, "reply_to": "a1", "expires_in_ms": 3_600_000},
        {"type": "REAUTH", "server_time_ms": NOW_MS, "within_ms": 25_000},
        {"type": "UNSUBSCRIBED", **timed, "code": "FORBIDDEN"},
        {"type": "GOAWAY", "server_time_ms": NOW_MS, "retry_after_ms": 730},
    ]  # fmt: skip
    return {each["type"]: each for each in examples}


def v2_message_examples() -> Json:
    """Return one example of each message of the v2 dialect, by message type."""
    timed = {"sessionId": SESSION_ID, "timestamp": NOW_MS}
    examples: list[Json] = [
        {"type": "PING"},
        {"type": "RECONNECT"},
        {"type": "CONNECTED", **timed},
        {"type": "STATE_SYNC", **timed, "state": example_state()},
        {"type": "STATE_UPDATE", **timed, "state": example_state()},
        {"type": "SESSION_DELETED", **timed},
        {"type": "PONG", "timestamp": NOW_MS},
        {"type": "ERROR", "code": "SESSION_NOT_FOUND", "message": f"Session {SESSION_ID} not found"},
    ]
    return {each["type"]: each for each in examples}
