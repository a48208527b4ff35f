"""The instants at which a session starts and ends: their checks and their changes."""

from synckairos.clock.budget import Budget
from synckairos.clock.commands import UpdateSession
from synckairos.clock.individual.all_clocks import with_moved_instants
from synckairos.clock.model import Session, Status, SyncMode
from synckairos.clock.timing import SUDDEN_DEATH, charge_session_until, rearm_warnings
from synckairos.errors import InvalidTransition, ValidationFailed
from synckairos.frozen_replace import replace

MAX_AHEAD_MS = 400 * 86_400_000
"""Milliseconds: maximum time from the present to a start, and from the present or the start to an end (400 days)."""


def check_start_and_end(starts_at_ms: int | None, ends_at_ms: int | None, now_ms: int) -> None:
    """Check the instants of a session that has not started, in ms since the Unix epoch. None is an absent instant.

    A start is not before `now_ms`. An end is after `now_ms` and after the start. Both are at most `MAX_AHEAD_MS` away.

    Raises: ValidationFailed with the path `starts_at` or `ends_at`.
    """
    if starts_at_ms is not None:
        if starts_at_ms < now_ms:
            raise ValidationFailed.at_path("starts_at", "is in the past")
        check_not_far("starts_at", starts_at_ms, now_ms)
    if ends_at_ms is not None:
        _check_end(ends_at_ms, now_ms)
        if starts_at_ms is not None and ends_at_ms <= starts_at_ms:
            raise ValidationFailed.at_path("ends_at", "should be after starts_at")
        check_not_far("ends_at", ends_at_ms, max(now_ms, starts_at_ms or now_ms))


def check_end(ends_at_ms: int, now_ms: int, path: str = "ends_at") -> None:
    """Check the end of a session that has started, in ms since the Unix epoch: in the future, and not too far away.

    Raises: ValidationFailed with the path `path`.
    """
    _check_end(ends_at_ms, now_ms)
    check_not_far(path, ends_at_ms, now_ms)


def _check_end(ends_at_ms: int, now_ms: int) -> None:
    if ends_at_ms <= now_ms:
        raise ValidationFailed.at_path("ends_at", "is not in the future")


def check_not_far(path: str, at_ms: int, from_ms: int) -> None:
    """Check that an instant is at most `MAX_AHEAD_MS` after `from_ms`. Both are in ms since the Unix epoch.

    Raises: ValidationFailed with the path `path`.
    """
    if at_ms - from_ms > MAX_AHEAD_MS:
        raise ValidationFailed.at_path(path, "is more than 400 days away")


def change_start_and_end(state: Session, command: UpdateSession, now_ms: int) -> Session:
    """Return the state with the start and end that the command sets. The version stays.

    Return `state` itself if no instant changes. Warnings with a threshold below the time to the new end can be sent
    again.

    Raises:
        InvalidTransition: the command changes the start of a session that has started, or the end of a session that has
            ended.
        ValidationFailed: the session has no end, or an instant is not possible.
    """
    changes_start = command.removes_start or command.starts_at_ms is not None
    if not changes_start and command.ends_at_ms is None:
        return state
    if command.ends_at_ms is not None and state.ends_at_ms is None:
        raise ValidationFailed.at_path("ends_at", "this session has a budget; only a creation can set ends_at")
    if changes_start and state.status is not Status.PENDING:
        raise InvalidTransition(f"starts_at cannot be changed: the session is {state.status}")
    if state.status.is_final:
        raise InvalidTransition(f"ends_at cannot be changed: the session is {state.status}")
    starts_at_ms = command.starts_at_ms if changes_start else state.starts_at_ms
    ends_at_ms = state.ends_at_ms if command.ends_at_ms is None else command.ends_at_ms
    if (starts_at_ms, ends_at_ms) == (state.starts_at_ms, state.ends_at_ms):
        return state
    check_start_and_end(starts_at_ms if state.status is Status.PENDING else None, ends_at_ms, now_ms)
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        return with_moved_instants(state, starts_at_ms, ends_at_ms, now_ms)
    charged = replace(charge_session_until(state, now_ms), updated_at_ms=now_ms)
    return rearm_warnings(replace(charged, starts_at_ms=starts_at_ms, ends_at_ms=ends_at_ms))


def move_end(charged: Session, delta_ms: int, may_fall_below_zero: bool) -> Session:
    """Return the state with its end moved by `delta_ms`, which can be negative. The version stays.

    The state must have an end, and the time until the present must be charged in it. If `may_fall_below_zero` is False,
    the end of a started session is not moved to before the present.

    Raises: ValidationFailed if the end would be more than `MAX_AHEAD_MS` away, or if the session has not started and
        the end would not be after its start.
    """
    assert charged.ends_at_ms is not None
    now_ms = charged.updated_at_ms
    if charged.started_at_ms is None:
        moved_ms = charged.ends_at_ms + delta_ms
        least_ms = max(now_ms, charged.starts_at_ms or now_ms)
        if moved_ms <= least_ms:
            raise ValidationFailed.at_path("delta_ms", "the end would not be after the start")
    else:
        least_ms = now_ms
        left = SUDDEN_DEATH.add_time(Budget(charged.ends_at_ms - now_ms), delta_ms, may_fall_below_zero)
        moved_ms = now_ms + left.remaining_ms
    check_not_far("delta_ms", moved_ms, least_ms)
    return replace(charged, ends_at_ms=moved_ms)
