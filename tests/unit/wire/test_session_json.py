"""The session's document: its JSON members, their values in each mode and clock system, and parsing."""

from typing import Any

import orjson
import pytest

from synckairos.clock.clock_systems import ClockSystem, Delay, Fischer, Hourglass, SuddenDeath
from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.creation import create
from synckairos.clock.model import ExtendBy, SyncMode
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from synckairos.frozen_replace import replace
from synckairos.wire.document_scan import extract_participants_json
from synckairos.wire.instants import render_instant
from synckairos.wire.session_json import participants_json, render_session, session_json
from synckairos.wire.session_parser import parse_session
from tests.unit.clock.script import T0, play, spec

MEMBERS = [
    "session_id",
    "sync_mode",
    "status",
    "version",
    "epoch",
    "participants",
    "groups",
    "active_participant_id",
    "active_group_id",
    "total_time_ms",
    "time_used_ms",
    "time_remaining_ms",
    "time_per_cycle_ms",
    "increment_ms",
    "max_time_ms",
    "initial_ms",
    "extend_on_switch_ms",
    "extend_window_ms",
    "extend_by",
    "max_extension_ms",
    "max_extensions",
    "extensions",
    "switch_while_paused",
    "between_turns",
    "pause_budget",
    "pauses_taken",
    "lag_compensation",
    "lag_receipt",
    "max_cycles",
    "clock",
    "on_timeout",
    "warnings_ms",
    "pauses",
    "deadline_at",
    "cycle_started_at",
    "session_started_at",
    "session_completed_at",
    "created_at",
    "updated_at",
    "metadata",
    "turn",
    "turn_number",
]

PARTICIPANT = [
    "participant_id",
    "participant_index",
    "display_name",
    "group_id",
    "total_time_ms",
    "time_used_ms",
    "time_remaining_ms",
    "cycle_count",
    "is_active",
    "has_expired",
    "clock",
    "reading",
    "lag",
]


def document(creation: Any, script: str) -> dict[str, Any]:
    """Return the JSON values of the document after a script of commands."""
    shown: dict[str, Any] = orjson.loads(render_session(play(creation, script).state))
    return shown


def test_members_are_in_the_published_order() -> None:
    extensions: dict[str, Any] = {
        "extend_window_ms": 9,
        "extend_by": ExtendBy.ADD,
        "max_extension_ms": 20,
        "max_extensions": 3,
    }
    creation = spec("count_up", "A/x", increment_ms=5, extend_on_switch_ms=7, pause_budget=2, **extensions)
    creation = replace(creation, switch_while_paused=True, holds_between_turns=True, initial_ms=3)
    assert list(document(creation, "")) == [name for name in MEMBERS if not name.startswith("lag_")]
    compensated = spec("per_participant", lag_compensation=True)
    assert set(document(compensated, "0 start; 10 switch")) > {"lag_compensation", "lag_receipt"}
    own_clock = NewParticipant("A", 0, 5_000, "Ann", "x", Byoyomi(3, 1_000))
    shown = document(replace(spec("per_participant", ""), participants=(own_clock,), lag_compensation=True), "")
    assert list(shown["participants"][0]) == PARTICIPANT


def test_unset_members_are_absent() -> None:
    shown = document(spec("per_participant"), "")
    left_out = {"increment_ms", "max_time_ms", "extend_on_switch_ms", "pause_budget", "pauses_taken"}
    left_out |= {"lag_compensation", "lag_receipt", "switch_while_paused", "between_turns"}
    left_out |= {"extend_window_ms", "extend_by", "max_extension_ms", "max_extensions", "extensions", "initial_ms"}
    assert [name for name in MEMBERS if name not in shown] == [name for name in MEMBERS if name in left_out]
    assert list(shown["participants"][0]) == [
        n for n in PARTICIPANT if n not in ("group_id", "clock", "reading", "lag")
    ]
    assert shown["active_participant_id"] is shown["deadline_at"] is shown["session_started_at"] is None


@pytest.mark.parametrize(
    ("mode", "script", "total", "used", "remaining"),
    [
        ("per_participant", "0 start; 10 switch", 180_000, 10_000, 170_000),
        ("per_cycle", "0 start; 10 switch", 70_000, 10_000, 60_000),
        ("per_group", "0 start; 10 switch", 120_000, 10_000, 110_000),
        ("global", "0 start; 10 switch", 60_000, 10_000, 50_000),
        ("count_up", "0 start; 10 switch", 60_000, 10_000, 50_000),
    ],
)
def test_totals_follow_the_mode(mode: str, script: str, total: int, used: int, remaining: int) -> None:
    shown = document(spec(mode, "A/x B/y C/x"), script)
    assert (shown["total_time_ms"], shown["time_used_ms"], shown["time_remaining_ms"]) == (total, used, remaining)


def test_count_up_without_a_cap_has_a_total_but_no_remaining_time() -> None:
    shown = document(spec("count_up", max_time_ms=None), "0 start; 10 switch")
    assert (shown["total_time_ms"], shown["time_remaining_ms"], shown["deadline_at"]) == (10_000, None, None)


def test_anchor_and_deadline_of_running_paused_and_ended_sessions() -> None:
    shown = document(spec("per_participant"), "0 start; 10 switch; 15 merge:{}")
    assert shown["cycle_started_at"] == shown["updated_at"] == render_instant(T0 + 10_000)
    assert shown["session_started_at"] == shown["created_at"] == render_instant(T0)
    assert shown["deadline_at"] == render_instant(T0 + 70_000)
    paused = document(spec("per_participant"), "0 start; 10 pause:tea+5")
    assert paused["cycle_started_at"] is paused["deadline_at"] is None
    assert paused["pauses"] == [
        {
            "reason": "tea",
            "paused_at": render_instant(T0 + 10_000),
            "max_ms": 5_000,
            "lifts_at": render_instant(T0 + 15_000),
            "paused_by": "anonymous",
        }
    ]
    ended = document(spec("per_participant"), "0 start; 99 time")
    assert ended["session_completed_at"] == ended["deadline_at"] == render_instant(T0 + 60_000)


def test_in_per_cycle_the_active_participant_has_the_remaining_time_and_others_the_full_budget() -> None:
    participants = document(spec("per_cycle"), "0 start; 10 pause")["participants"]
    assert [p["time_remaining_ms"] for p in participants] == [50_000, 60_000, 60_000]
    assert [p["is_active"] for p in participants] == [True, False, False]


def test_before_the_start_no_participant_is_active() -> None:
    shown = document(spec("per_participant", active_participant_id="B"), "")
    assert shown["active_participant_id"] == "B"
    assert not any(p["is_active"] for p in shown["participants"])


@pytest.mark.parametrize(
    ("clock", "script", "readings"),
    [
        (SuddenDeath(), "0 start", [None, None]),
        (Fischer(1), "0 start", [None, None]),
        (Byoyomi(3, 9_000), "0 start; 61 pause", [("overtime", 3, 9_000), ("main", 3, 9_000)]),
        (Canadian(3, 9_000), "0 start; 61 switch", [("overtime", 2, 9_000), ("main", 3, 9_000)]),
        (Stages((Stage(2, 5), Stage())), "0 start; 1 switch", [(1, 0), (2, 0)]),
        (Stages((Stage(1, 5), Stage())), "0 start; 1 switch", [(1,), (1, 0)]),
        (Delay(5_000), "", [(None,), (None,)]),
        (Delay(5_000), "0 start", [(render_instant(T0 + 5_000),), (None,)]),
        (Delay(5_000), "0 start; 3 pause", [(None,), (None,)]),
        (Delay(5_000), "0 start; 3 pause; 9 resume", [(render_instant(T0 + 11_000),), (None,)]),
        (Hourglass(), "0 start", [(-1_000,), (1_000,)]),
        (Hourglass(), "0 start; 3 pause", [(0,), (0,)]),
    ],
)
def test_readings_of_participants_follow_the_clock_system(
    clock: ClockSystem, script: str, readings: list[tuple[Any, ...] | None]
) -> None:
    participants = document(spec("per_participant", "A B", clock=clock), script)["participants"]
    assert [tuple(p["reading"].values()) if "reading" in p else None for p in participants] == readings


def test_readings_of_groups_follow_the_clock_system() -> None:
    groups = document(spec("per_group", "A/x B/y", clock=Delay(5_000)), "0 start; 7 switch")["groups"]
    assert [group["reading"]["free_until_at"] for group in groups] == [None, render_instant(T0 + 12_000)]
    assert [group["time_remaining_ms"] for group in groups] == [58_000, 60_000]


def test_a_clock_anchored_at_the_unix_epoch_has_a_reading() -> None:
    state = play(spec("per_participant", "A B", clock=Delay(5_000)), "0 start", at_ms=0).state
    assert participants_json(state)[0]["reading"] == {"free_until_at": "1970-01-01T00:00:05.000Z"}
    assert parse_session(render_session(state)) == state


@pytest.mark.parametrize("script", ["", "0 start; 1 pause:tea+5; 2 pause", "0 start; 1 cancel", "0 start; 55 time"])
@pytest.mark.parametrize("mode", ["per_participant", "per_cycle", "per_group", "global", "count_up"])
def test_a_parsed_document_renders_to_the_same_bytes(mode: str, script: str) -> None:
    metadata = {"π": [1, 1.5, True, None, {"": "é\n"}], "big": 2**53 - 1}
    creation = spec(mode, "A/x B/y", warnings_ms=(10_000, 5_000), metadata=metadata, max_cycles=9)
    state = play(creation, script).state
    rendered = render_session(state)
    assert parse_session(rendered) == state
    assert render_session(parse_session(rendered)) == rendered
    assert orjson.dumps(session_json(state)) == rendered


def test_the_document_of_a_deleted_session_does_not_contain_the_deletion() -> None:
    state = play(spec("global"), "0 start; 1 delete").state
    assert parse_session(render_session(state), deleted=True) == state
    assert not parse_session(render_session(state)).deleted


def test_participants_are_extracted_from_a_document_with_any_display_name() -> None:
    participants = (NewParticipant("p", total_time_ms=1_000, display_name=',"groups":['),)
    state = create(Create(SyncMode.PER_PARTICIPANT, participants), "a", "epoch", 1_000).state
    document = render_session(state)
    assert parse_session(document) == state
    assert extract_participants_json(document) == orjson.dumps(participants_json(state))
