"""Request bodies of commands and simulations: valid bodies become commands, invalid bodies are refused with paths."""

import contextlib
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.clock.audience_display import AnnouncementTone, ScreenMode
from synckairos.clock.budget import ClockReadingDetails
from synckairos.clock.clock_systems import SuddenDeath
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Announce,
    Cancel,
    Command,
    Complete,
    Delete,
    Done,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    Screen,
    Start,
    Switch,
    Undo,
    UpdateMetadata,
    UpdateParticipant,
    UpdateSession,
)
from synckairos.clock.earlier_turns import EndedTurn, RestoredGroup, RestoredParticipant, RestoredTurn, UndoCharge
from synckairos.clock.lag_compensation import LagAccount
from synckairos.clock.model import Extensions
from synckairos.errors import ValidationFailed
from synckairos.wire.body_parser import parse_audited_args, parse_body, parse_command
from synckairos.wire.command_bodies.session_changes import PatchBody
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.command_bodies.turns import SwitchBody
from synckairos.wire.simulation_body import SimulationBody

A, B = (str(UUID(int=at)) for at in (10, 11))
DAY = 86_400_000


def paths(verb: str, args: Any) -> list[str]:
    """Return the paths of the faults of an invalid command."""
    with pytest.raises(ValidationFailed) as refused:
        parse_command(verb, args)
    return [fault["path"] for fault in refused.value.details]


@pytest.mark.parametrize(
    ("verb", "args", "command"),
    [
        ("start", {}, Start()),
        ("complete", {}, Complete()),
        ("cancel", {}, Cancel()),
        ("delete", {}, Delete()),
        ("switch", {}, Switch()),
        ("switch", {"next_participant_id": A.upper(), "current_participant_id": B}, Switch(A, B)),
        ("pause", {}, Pause("manual", None)),
        ("pause", {"reason": "toilet", "max_ms": 400 * DAY}, Pause("toilet", 400 * DAY)),
        ("resume", {}, Resume(None)),
        ("resume", {"reason": "timeout"}, Resume("timeout")),
        ("adjust", {"delta_ms": -400 * DAY}, Adjust(-400 * DAY)),
        ("adjust", {"delta_ms": 1, "participant_ids": [A, B]}, Adjust(1, (A, B))),
        ("adjust", {"delta_ms": 1, "group_id": A}, Adjust(1, None, A)),
        ("add_participant", {"participant_id": A}, AddParticipant(NewParticipant(A))),
        (
            "add_participant",
            {"participant_id": A, "participant_index": 3, "total_time_ms": 1_000, "group_id": B, "display_name": "é"},
            AddParticipant(NewParticipant(A, 3, 1_000, "é", B)),
        ),
        ("remove_participant", {"participant_id": A}, RemoveParticipant(A)),
        ("update_participant", {"participant_id": A.upper(), "total_time_ms": 0}, UpdateParticipant(A, 0)),
        (
            "update_participant",
            {"participant_id": A, "total_time_ms": 1_000, "clock": {"sudden_death": {}}, "display_name": "é"},
            UpdateParticipant(A, 1_000, SuddenDeath(), "é"),
        ),
        (
            "update_participant",
            {"participant_id": A, "display_name": None},
            UpdateParticipant(A, removes_display_name=True),
        ),
        ("update_metadata", {"metadata": {"a": None}}, UpdateMetadata({"a": None})),
        ("announce", {"text": None}, Announce(None)),
        (
            "announce",
            {"text": "é", "tone": "urgent", "flash": True, "until": "2026-01-31T13:00:00+01:00"},
            Announce("é", AnnouncementTone.URGENT, True, 1_769_860_800_000),
        ),
        ("screen", {"mode": "normal"}, Screen(None)),
        ("screen", {"mode": "standby"}, Screen(ScreenMode.STANDBY)),
        ("update_session", {"labels": {"round": "é", "a.b-c_1": None}}, UpdateSession({"round": "é", "a.b-c_1": None})),
        ("update_session", {"labels": {}, "metadata": {"a": 1}}, UpdateSession({}, {"a": 1})),
        ("update_session", {"metadata": {"a": 1}}, UpdateSession({}, {"a": 1})),
        ("update_session", {"starts_at": "2026-01-31T13:00:00+01:00"}, UpdateSession(starts_at_ms=1_769_860_800_000)),
        ("update_session", {"starts_at": None}, UpdateSession(removes_start=True)),
        ("undo", {}, Undo()),
        ("undo", {"turns": 100, "charge": "mover"}, Undo(100, UndoCharge.MOVER)),
        ("reopen", {}, Reopen()),
        ("done", {"participant_id": A.upper()}, Done(A)),
        ("reopen", {"delta_ms": 5, "participant_ids": [A], "reason": "flag"}, Reopen(5, (A,))),
        ("update_session", {"ends_at": "2026-01-31T12:00:00.001Z"}, UpdateSession(ends_at_ms=1_769_860_800_001)),
    ],
)
def test_a_valid_body_becomes_a_command(verb: str, args: dict[str, Any], command: Command) -> None:
    assert parse_command(verb, args).to_command() == command
    assert parse_command(verb, args | {"expected_version": 7}).expected_version == 7


@pytest.mark.parametrize(
    ("verb", "args", "path"),
    [
        ("cancel", {"now": True}, "now"),
        ("delete", {"now": True}, "now"),
        ("start", {"expected_version": -1}, "expected_version"),
        ("start", {"expected_version": "1"}, "expected_version"),
        ("start", {"expected_version": 1.0}, "expected_version"),
        ("start", {"expected_version": True}, "expected_version"),
        ("start", {"expected_version": None}, "expected_version"),
        ("start", {"expected_version": 2**53}, "expected_version"),
        ("start", [], ""),
        ("switch", {"next_participant_id": "white"}, "next_participant_id"),
        ("pause", {"reason": ""}, "reason"),
        ("pause", {"reason": "x" * 65}, "reason"),
        *(("pause", {"reason": each}, "reason") for each in ("timeout", "hold", "reopened", "rest")),
        ("pause", {"reason": "a\0"}, "reason"),
        ("pause", {"max_ms": 0}, "max_ms"),
        ("pause", {"max_ms": 400 * DAY + 1}, "max_ms"),
        ("adjust", {}, "delta_ms"),
        ("adjust", {"delta_ms": 0}, "delta_ms"),
        ("adjust", {"delta_ms": 400 * DAY + 1}, "delta_ms"),
        ("adjust", {"delta_ms": -400 * DAY - 1}, "delta_ms"),
        ("adjust", {"delta_ms": 1, "participant_ids": []}, "participant_ids"),
        ("adjust", {"delta_ms": 1, "participant_ids": [A, A.upper()]}, "participant_ids"),
        ("adjust", {"delta_ms": 1, "participant_ids": [A, "x"]}, "participant_ids.1"),
        ("add_participant", {}, "participant_id"),
        ("add_participant", {"participant_id": A, "total_time_ms": 999}, "total_time_ms"),
        ("add_participant", {"participant_id": A, "display_name": "x" * 201}, "display_name"),
        ("add_participant", {"participant_id": A, "clock": {}}, "clock"),
        ("add_participant", {"participant_id": A, "clock": {"stages": [{}, {"moves": 1}]}}, "clock.stages.0.moves"),
        ("update_participant", {"participant_id": A}, ""),
        ("update_participant", {"participant_id": A, "expected_version": 1}, ""),
        ("update_participant", {"total_time_ms": 1_000}, "participant_id"),
        ("update_participant", {"participant_id": A, "total_time_ms": None}, "total_time_ms"),
        ("update_participant", {"participant_id": A, "total_time_ms": -1}, "total_time_ms"),
        ("update_participant", {"participant_id": A, "total_time_ms": 999}, "total_time_ms"),
        ("update_participant", {"participant_id": A, "total_time_ms": 1e3}, "total_time_ms"),
        ("update_participant", {"participant_id": A, "total_time_ms": 400 * DAY + 1}, "total_time_ms"),
        ("update_participant", {"participant_id": A, "clock": None}, "clock"),
        ("update_participant", {"participant_id": A, "clock": {}}, "clock"),
        (
            "update_participant",
            {"participant_id": A, "clock": {"stages": [{}, {"moves": 1}]}},
            "clock.stages.0.moves",
        ),
        ("update_participant", {"participant_id": A, "display_name": "x" * 201}, "display_name"),
        ("update_participant", {"participant_id": A, "group_id": B, "display_name": "x"}, "group_id"),
        ("update_metadata", {}, "metadata"),
        ("update_metadata", {"metadata": None}, "metadata"),
        ("update_metadata", {"metadata": {"a": 2**60}}, "metadata.a"),
        ("announce", {}, "text"),
        ("announce", {"text": ""}, "text"),
        ("announce", {"text": "x" * 281}, "text"),
        ("announce", {"text": None, "flash": True}, ""),
        ("announce", {"text": None, "until": "2026-01-31T12:00:00Z"}, ""),
        ("announce", {"text": "Tea", "tone": "loud"}, "tone"),
        ("announce", {"text": "Tea", "until": None}, "until"),
        ("screen", {}, "mode"),
        ("screen", {"mode": "off"}, "mode"),
        ("update_session", {}, ""),
        ("update_session", {"expected_version": 1}, ""),
        ("update_session", {"labels": None}, "labels"),
        ("update_session", {"ends_at": None}, "ends_at"),
        ("update_session", {"starts_at": "2026-03-29T02:30:00"}, "starts_at"),  # no offset: in a gap of local clocks
        ("update_session", {"starts_at": "9000-01-01T00:00:00Z"}, "starts_at"),
        ("update_session", {"starts_at": 1_769_860_800_000}, "starts_at"),
        ("update_session", {"labels": {"Round": "1"}}, "labels.Round.[key]"),
        ("update_session", {"labels": {"": "1"}}, "labels..[key]"),
        ("update_session", {"labels": {"a" * 64: "1"}}, f"labels.{'a' * 64}.[key]"),
        ("update_session", {"labels": {"a": ""}}, "labels.a"),
        ("update_session", {"labels": {"a": "x" * 64}}, "labels.a"),
        ("update_session", {"labels": {"a": "x\n"}}, "labels.a"),
        ("update_session", {"labels": {"a": 1}}, "labels.a"),
        ("undo", {"turns": 0}, "turns"),
        ("undo", {"turns": 101}, "turns"),
        ("undo", {"charge": "all"}, "charge"),
        ("undo", {"restored": {"version": 2, "at_ms": 0}}, "restored"),
        ("reopen", {"delta_ms": 0}, "delta_ms"),
        ("done", {}, "participant_id"),
        ("reopen", {"reason": ""}, "reason"),
        ("reopen", {"turn": {"used_ms": 1, "cycles": 0}}, "turn"),
        ("dance", {}, "command"),
    ],
)
def test_an_invalid_body_is_refused_with_the_path(verb: str, args: Any, path: str) -> None:
    assert paths(verb, args) == [path]


@given(
    st.sampled_from([*COMMAND_BODIES, "x"]),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists),
)
def test_any_arguments_become_a_command_or_are_refused(verb: str, args: Any) -> None:
    for value in (args, {"reason": args, "delta_ms": args}, {"metadata": {"a": args}}):
        with contextlib.suppress(ValidationFailed):
            parse_command(verb, value).to_command()


def test_faults_of_a_simulation_have_paths_into_its_session_and_commands() -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_body(
            SimulationBody,
            {
                "session": {"sync_mode": "global"},
                "commands": [
                    {"at_ms": 0, "command": "start"},
                    {"at_ms": 11, "command": "pause", "args": {"reason": "timeout"}},
                    {"at_ms": 5, "command": "dance"},
                    {"command": "start", "extra": 1},
                ],
                "until_ms": 10,
            },
        )
    assert {fault["path"] for fault in refused.value.details} == {
        "session.total_time_ms",
        "commands.1.at_ms",
        "commands.1.args.reason",
        "commands.2.command",
        "commands.3.at_ms",
        "commands.3.extra",
    }


@pytest.mark.parametrize("verb", ["start", "switch", "pause", "resume", "complete"])
def test_unknown_members_of_a_command_of_v2_are_ignored_but_never_stored(verb: str) -> None:
    args = {"now": True, "a.b": None, "expected_version": 3, "": {"c": [1]}}
    assert parse_command(verb, args) == parse_command(verb, {"expected_version": 3})
    assert parse_command(verb, args).model_dump(exclude_unset=True) == {"expected_version": 3}
    assert paths(verb, {"now": "a\0"}) == ["now"]
    with pytest.raises(ValidationFailed) as refused:
        parse_audited_args(verb, args)
    assert refused.value.details[0] == {"path": "now", "message": "unknown field"}


def test_the_measured_lag_is_stored_but_ignored_from_a_client() -> None:
    args = {"lag_ms": 90, "current_participant_id": A, "expected_version": 3}
    body = parse_command("switch", args | {"measured_lag_ms": 200})
    assert isinstance(body, SwitchBody)
    assert body == parse_command("switch", args)
    assert body.to_command() == Switch(None, A, 90, None)
    measured = body.with_measured_lag(200)
    assert measured.model_dump(exclude_unset=True) == args | {"measured_lag_ms": 200}
    assert parse_audited_args("switch", measured.model_dump(exclude_unset=True)) == measured
    assert measured.to_command() == Switch(None, A, 90, 200)
    stored_pause = parse_audited_args("pause", {"reason": "tea"})
    assert stored_pause.to_command() == parse_command("pause", {"reason": "tea"}).to_command()


def test_pause_of_an_early_release_for_a_reason_that_is_now_reserved_is_read_from_the_audit() -> None:
    assert parse_audited_args("pause", {"reason": "hold"}).to_command() == Pause("hold")
    with pytest.raises(ValidationFailed):
        parse_audited_args("pause", {"reason": "timeout"})


@pytest.mark.parametrize(
    ("body", "verb", "command"),
    [
        ({"metadata": {"a": 1}}, "update_metadata", UpdateMetadata({"a": 1})),
        ({"metadata": {"a": 1}, "labels": {"b": "c"}}, "update_session", UpdateSession({"b": "c"}, {"a": 1})),
        ({"starts_at": None}, "update_session", UpdateSession(removes_start=True)),
        ({"ends_at": "2026-01-31T12:00:00Z"}, "update_session", UpdateSession(ends_at_ms=1_769_860_800_000)),
    ],
)
def test_patch_means_one_of_two_commands(body: dict[str, Any], verb: str, command: Command) -> None:
    parsed = parse_body(PatchBody, body | {"expected_version": 7})
    assert (parsed.verb, parsed.to_command(), parsed.expected_version) == (verb, command, 7)


@pytest.mark.parametrize(
    ("created_at", "fields", "path"),
    [
        (None, {"starts_at": "1969-12-31T23:59:59Z"}, "session.starts_at"),
        ("2026-01-31T12:00:00Z", {"starts_at": "2026-01-31T11:59:59Z"}, "session.starts_at"),
        ("2026-01-31T12:00:00Z", {"ends_at": "2026-01-31T12:00:00Z"}, "session.ends_at"),
        ("2026-01-31T12:00:00Z", {"ends_at": "2027-03-31T12:00:00Z"}, "session.ends_at"),
    ],
)
def test_instants_of_a_simulation_count_from_its_creation(
    created_at: str | None, fields: dict[str, Any], path: str
) -> None:
    session = {"sync_mode": "global"} | ({"total_time_ms": 60_000} if "starts_at" in fields else {}) | fields
    body = {"session": session, "until_ms": 1} | ({} if created_at is None else {"created_at": created_at})
    with pytest.raises(ValidationFailed) as refused:
        parse_body(SimulationBody, body)
    assert [each["path"] for each in refused.value.details] == [path]


def test_audited_undo_needs_the_turn_that_the_server_found() -> None:
    person = RestoredParticipant(A, 5, 1, 2, True, ClockReadingDetails("main", periods_left=3), LagAccount(450, 150))
    restored = RestoredTurn(2, 7, A, 3, 1, None, 4, (person,), (RestoredGroup(B, 5),), extensions=Extensions(1, 2))
    command = parse_audited_args("undo", {"turns": 2, "restored": msgspec.to_builtins(restored)}).to_command()
    assert command == Undo(2, restored=restored)
    refused: dict[str, Any]
    for refused in ({}, {"restored": {}}, {"restored": {"version": "2", "at_ms": 0}}):
        with pytest.raises(ValidationFailed):
            parse_audited_args("undo", refused)


def test_audited_reopening_has_the_turn_that_the_server_found() -> None:
    turn = {"participant_id": A, "used_ms": 7, "cycles": 2}
    command = parse_audited_args("reopen", {"delta_ms": 5, "turn": turn}).to_command()
    assert command == Reopen(5, turn=EndedTurn(A, 7, 2))
    held = parse_audited_args("reopen", {"turn": {"used_ms": 0, "cycles": 2, "is_held": True}}).to_command()
    assert held == Reopen(turn=EndedTurn(None, 0, 2, True))
    assert parse_audited_args("reopen", {"delta_ms": 5, "participant_ids": [A]}).to_command() == Reopen(5, (A,))
