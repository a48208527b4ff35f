"""The first edition of the clock: sessions without a turn number.

A session keeps the edition of its creation. An instance of a release that knows only the first edition can commit the
next version of a session of the second edition. It drops all facts that it does not know, so the session then continues
in the first edition.
"""

from synckairos.clock.clock_systems import ClockSystem
from synckairos.clock.commands import Create
from synckairos.clock.model import Session, SyncMode
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stages
from synckairos.clock.timing import session_remaining_ms
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace


def as_first_edition(state: Session) -> Session:
    """Return the state without the facts and settings that only the second edition has."""
    if not state.is_second_edition:
        return state
    rules = replace(
        state.rules,
        extend_window_ms=None,
        extend_by=None,
        max_extension_ms=None,
        max_extensions=None,
        switch_while_paused=False,
        holds_between_turns=False,
        initial_ms=None,
        closes_when_all_done=False,
        free_first_turn_ms=None,
        rest=None,
    )
    participants = tuple(replace(each, done_turn=None) if each.done_turn else each for each in state.participants)
    turn = replace(state.turn, is_in_overtime=False, began_version=None)
    # The document of a session with an end also has its remaining time, which an earlier release reads as a budget.
    return replace(
        state,
        rules=rules,
        participants=participants,
        turn=turn,
        remaining_ms=session_remaining_ms(state),
        turn_number=None,
        extensions=None,
        labels={},
        starts_at_ms=None,
        ends_at_ms=None,
        breaks=None,
        plan=(),
        item_position=None,
        next_item_position=None,
        schedule_offset_ms=None,
        announcement=None,
        screen=None,
    )


def needs_second_edition(system: ClockSystem) -> bool:
    """Return whether a clock system has settings that only the second edition has."""
    match system:
        case Byoyomi():
            return system.increment_ms is not None
        case Canadian():
            return system.moves_step is not None or system.moves_max is not None
        case Stages():
            return any(each.delay_ms is not None or each.at_zero is not None for each in system.stages)
        case _:
            return False


def check_first_edition(spec: Create) -> None:
    """Check that the first edition has all settings of a creation.

    Raises: ValidationFailed that names the first setting that needs the second edition.
    """
    needs = {
        "sync_mode": spec.sync_mode is SyncMode.INDIVIDUAL,
        "warnings_ms": any(each <= 0 for each in spec.warnings_ms),
        "extend_window_ms": spec.extend_window_ms is not None,
        "extend_by": spec.extend_by is not None,
        "max_extension_ms": spec.max_extension_ms is not None,
        "max_extensions": spec.max_extensions is not None,
        "switch_while_paused": spec.switch_while_paused,
        "clock": spec.clock is not None and needs_second_edition(spec.clock),
        "participants": any(each.clock and needs_second_edition(each.clock) for each in spec.participants),
        "initial_ms": spec.initial_ms is not None,
        "between_turns": spec.holds_between_turns,
        "labels": bool(spec.labels),
        "rest": spec.rest is not None,
        "free_first_turn": spec.free_first_turn_ms is not None,
        "close_when_all_done": spec.closes_when_all_done,
        "starts_at": spec.starts_at_ms is not None,
        "ends_at": spec.ends_at_ms is not None,
        "recorded": spec.recorded is not None,
        "plan": bool(spec.plan),
    }
    for name, is_used in needs.items():
        if is_used:
            raise ValidationFailed.at_path(name, "needs the second edition of the clock (SYNCKAIROS_CLOCK_EDITION=2)")
