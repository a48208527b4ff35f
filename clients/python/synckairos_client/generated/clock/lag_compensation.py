# Generated from synckairos.clock.lag_compensation by `make python-client`. Do not edit.
"""Lag compensation: network delay is not charged, within a quota that false claims cannot exceed.

The rules follow lichess. The time control determines how fast the quota grows. The claim of a client is accepted up to
the lag that the server measured plus a tolerance. The compensated time is the part of the accepted claim that the quota
covers. The clock system treats the turn as if it had ended earlier by the compensated time. The compensated time is
charged to no budget.
"""

from dataclasses import dataclass

from synckairos_client.generated.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, PerMove
from synckairos_client.generated.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos_client.generated.clock.stages import Stages

CLAIM_TOLERANCE_MS = 140
"""Milliseconds by which an accepted claim can exceed the lag that the server measured.

The tolerance covers the delay inside the client and the variation of network delay.
"""

EXPECTED_TURNS = 40
"""Number of turns that each participant is expected to have in a session."""

MIN_GAIN_MS, MAX_GAIN_MS = 150, 1_000
"""Milliseconds that each turn adds to the quota: minimum and maximum."""

GAIN_MS_PER_S = 4
"""Milliseconds that the quota gains per turn, for each second of the expected total time of a participant."""

MAX_GRACE_MS = 2_000
"""Milliseconds: maximum grace at the flag, even if the quota is greater."""

INITIAL_QUOTA_TURNS, MAX_QUOTA_TURNS = 3, 7
"""Initial quota and maximum quota, each as a multiple of the gain per turn."""


@dataclass(frozen=True, slots=True)
class LagAccount:
    """The lag account of one participant in ms: remaining quota, gain of the quota per turn, total compensated time."""

    quota_ms: int
    gain_ms: int
    compensated_ms: int = 0


@dataclass(frozen=True, slots=True)
class LagReceipt:
    """The charge of one finished turn in ms: `elapsed_ms` since the anchor = `compensated_ms` + `charged_ms`.

    `trusted_lag_ms` is the accepted part of the client's claim, before the quota limits it. `quota_left_ms` is the
    quota after the turn, including the gain of the turn.
    """

    participant_id: str
    elapsed_ms: int
    trusted_lag_ms: int
    compensated_ms: int
    charged_ms: int
    quota_left_ms: int


def open_lag_account(system: ClockSystem, budget_ms: int, *, counts_byoyomi: bool = True) -> LagAccount:
    """Return a new lag account for a participant with a budget of `budget_ms`.

    The gain per turn is 150 ms plus 4 ms for each second of the expected total time, at most 1,000 ms. The expected
    total time is `budget_ms` plus the time that the clock system adds in 40 turns. If `counts_byoyomi` is False,
    byo-yomi periods do not count in this sum. This is the rule of early releases, whose event rows must still replay.
    """
    is_counted = counts_byoyomi or not isinstance(system, Byoyomi)
    expected_ms = budget_ms + (EXPECTED_TURNS * _time_per_turn_ms(system) if is_counted else 0)
    gain_ms = min(MAX_GAIN_MS, MIN_GAIN_MS + expected_ms * GAIN_MS_PER_S // 1000)
    return LagAccount(INITIAL_QUOTA_TURNS * gain_ms, gain_ms)


def limit_lag_claim(claimed_ms: int | None, measured_ms: int | None) -> int:
    """Return the accepted part of a client's claim, ms: at most `measured_ms` plus `CLAIM_TOLERANCE_MS`.

    A `claimed_ms` or `measured_ms` of None counts as 0.
    """
    return min(claimed_ms or 0, (measured_ms or 0) + CLAIM_TOLERANCE_MS)


def compensate_lag(
    account: LagAccount, participant_id: str, elapsed_ms: int, trusted_lag_ms: int
) -> tuple[LagAccount, LagReceipt]:
    """Return the account after a turn, and the receipt of the turn. `elapsed_ms` is the turn's time since the anchor.

    The compensated time is the least of `trusted_lag_ms`, the quota before the turn, and `elapsed_ms`. The new quota
    also includes the gain of the turn.
    """
    compensated_ms = min(trusted_lag_ms, account.quota_ms, elapsed_ms)
    quota_ms = min(account.quota_ms + account.gain_ms - compensated_ms, MAX_QUOTA_TURNS * account.gain_ms)
    after = LagAccount(quota_ms, account.gain_ms, account.compensated_ms + compensated_ms)
    charged_ms = elapsed_ms - compensated_ms
    return after, LagReceipt(participant_id, elapsed_ms, trusted_lag_ms, compensated_ms, charged_ms, quota_ms)


def _time_per_turn_ms(system: ClockSystem) -> int:
    """Return the time in ms that the clock system is expected to add per turn.

    This is the increment, the delay, or the share of a period.
    """
    match system:
        case Fischer():
            return system.increment_ms
        case Bronstein() | Delay():
            return system.delay_ms
        case PerMove():
            return system.move_ms
        case Byoyomi():
            return system.period_ms
        case Canadian():
            return system.period_ms // system.moves
        case Stages():
            return system.stages[0].increment_ms + (system.stages[0].delay_ms or 0)
        case _:
            return 0
