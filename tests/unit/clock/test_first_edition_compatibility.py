"""Settings that only the second edition has, and overtime of a turn that begins with or without time."""

import pytest

from synckairos.clock.audience_display import Announcement
from synckairos.clock.clock_systems import ClockSystem, Fischer
from synckairos.clock.commands import UpdateSession
from synckairos.clock.first_edition_compatibility import as_first_edition, check_first_edition, needs_second_edition
from synckairos.clock.model import ExtendBy, Extensions, RestRule
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace
from tests.unit.clock.script import T0, play, spec


@pytest.mark.parametrize(
    ("system", "needs"),
    [
        (Fischer(1_000), False),
        (Byoyomi(2, 1_000), False),
        (Byoyomi(2, 1_000, increment_ms=0), True),
        (Canadian(2, 1_000), False),
        (Canadian(2, 1_000, moves_step=1), True),
        (Stages((Stage(2), Stage())), False),
        (Stages((Stage(2), Stage(delay_ms=5))), True),
        (Stages((Stage(at_zero=True), Stage())), True),
    ],
)
def test_clock_with_settings_of_the_second_edition_is_refused_in_the_first(system: ClockSystem, needs: bool) -> None:
    assert needs_second_edition(system) is needs
    creation = spec("per_participant", clock=system)
    if not needs:
        check_first_edition(creation)
        return
    with pytest.raises(ValidationFailed) as refused:
        check_first_edition(creation)
    assert refused.value.details[0]["path"] == "clock"


@pytest.mark.parametrize(
    ("on_timeout", "edition", "script", "is_in_overtime"),
    [
        (None, 2, "0 start", False),
        ("overtime", 2, "0 start", False),
        ("overtime", 2, "0 start; 60 time", True),
        ("overtime", 2, "0 start; 70 switch; 71 switch", True),
        ("overtime", 1, "0 start; 70 switch; 71 switch", False),
        ("overtime", 2, "0 start; 60 switch; 61 switch", True),
        ("overtime", 2, "0 start; 59.999 switch; 61 switch", False),
    ],
)
def test_turn_is_in_overtime_from_zero_on(
    on_timeout: str | None, edition: int, script: str, is_in_overtime: bool
) -> None:
    session = play(spec("per_participant", "A B", on_timeout, edition=edition), script)
    assert session.state.turn.is_in_overtime is is_in_overtime


def test_adjust_in_overtime_takes_only_the_last_stage_below_zero() -> None:
    stages = Stages((Stage(add_ms=20_000, at_zero=True), Stage()))
    creation = spec("per_participant", "A B", "overtime", clock=stages)
    assert play(creation, "0 start; 50 adjust-15:A").remaining("A") == 0
    assert play(creation, "0 start; 70 adjust-15:A").remaining("A") == -5


def test_first_edition_has_no_facts_and_settings_of_the_second() -> None:
    first = play(spec("per_participant", "A B", edition=1), "0 start; 10 switch").state
    second = play(spec("per_participant", "A B"), "0 start; 10 switch").state
    assert as_first_edition(first) is first
    rules = replace(
        second.rules,
        extend_window_ms=1,
        extend_by=ExtendBy.ADD,
        max_extension_ms=1,
        max_extensions=1,
        switch_while_paused=True,
        holds_between_turns=True,
        initial_ms=1,
        closes_when_all_done=True,
        free_first_turn_ms=1,
        rest=RestRule((7,)),
    )
    facts = replace(
        second,
        rules=rules,
        participants=tuple(replace(each, done_turn=2) for each in second.participants),
        turn=replace(second.turn, is_in_overtime=True),
        extensions=Extensions(1, 1),
        labels={"room": "1"},
        starts_at_ms=T0,
        breaks=(),
        schedule_offset_ms=5,
        announcement=Announcement("hello", T0),
    )
    assert as_first_edition(facts) == replace(first, turn=replace(first.turn, began_version=None))


@pytest.mark.parametrize(("text", "path"), [("update:start+30", "starts_at"), ("update:end+30", "starts_at")])
def test_update_of_a_session_of_the_first_edition_is_refused(text: str, path: str) -> None:
    session = play(spec("global", "A B", edition=1), f"5 {text}")
    for command, named in ((None, path), (UpdateSession({"room": "1"}), "labels")):
        refusal = session.decision.refusal if command is None else session.do(T0, command).refusal
        assert refusal is not None
        assert [each["path"] for each in refusal.details or ()] == [named]
