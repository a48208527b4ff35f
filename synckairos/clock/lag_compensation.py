"""Lag compensation: the network's part of a turn isn't charged, within a quota that nobody can talk up.

After lichess: the quota's gain follows from the time control, and a claim counts up to what the server measured itself
and a little more. A turn that is compensated ends that much earlier for every clock system; the time is nobody's.
"""

from dataclasses import dataclass

from synckairos.clock.clock_systems import Bronstein, Canadian, ClockSystem, Delay, Fischer, PerMove, Stages
from synckairos.fast_dataclass import fast_dataclass

CLAIM_TOLERANCE_MS = 140
"""A client may claim this much more than the server measured: its own share, and the way is never twice the same."""

EXPECTED_TURNS = 40
"""Turns that a game is reckoned to have."""

MIN_GAIN_MS, MAX_GAIN_MS = 150, 1_000
GAIN_MS_PER_S = 4
INITIAL_QUOTA_TURNS, MAX_QUOTA_TURNS = 3, 7


@fast_dataclass
@dataclass(frozen=True, slots=True)
class LagAccount:
    """One participant's account: what may be compensated yet, what each turn adds to it, what was so far."""

    quota_ms: int
    gain_ms: int
    compensated_ms: int = 0


@dataclass(frozen=True, slots=True)
class LagReceipt:
    """How the last turn was charged: `elapsed_ms` since the anchor = `compensated_ms` + `charged_ms`."""

    participant_id: str
    elapsed_ms: int
    trusted_lag_ms: int
    compensated_ms: int
    charged_ms: int
    quota_left_ms: int


def open_lag_account(system: ClockSystem, budget_ms: int) -> LagAccount:
    """Return a fresh account: 150 ms a turn and 4 ms for each second of the time control, a second at most."""
    expected_ms = budget_ms + EXPECTED_TURNS * _per_turn_ms(system)
    gain_ms = min(MAX_GAIN_MS, MIN_GAIN_MS + expected_ms * GAIN_MS_PER_S // 1000)
    return LagAccount(INITIAL_QUOTA_TURNS * gain_ms, gain_ms)


def trust_lag_claim(claimed_ms: int | None, measured_ms: int | None) -> int:
    """Return how much of a claim to believe; where nothing was measured, there is only the little more to go by."""
    return min(claimed_ms or 0, (measured_ms or 0) + CLAIM_TOLERANCE_MS)


def compensate(
    lag: LagAccount, participant_id: str, elapsed_ms: int, trusted_lag_ms: int
) -> tuple[LagAccount, LagReceipt]:
    """Return the account after a turn and its receipt: never more than the quota, nor than the turn took."""
    compensated_ms = min(trusted_lag_ms, lag.quota_ms, elapsed_ms)
    quota_ms = min(lag.quota_ms + lag.gain_ms - compensated_ms, MAX_QUOTA_TURNS * lag.gain_ms)
    after = LagAccount(quota_ms, lag.gain_ms, lag.compensated_ms + compensated_ms)
    charged_ms = elapsed_ms - compensated_ms
    return after, LagReceipt(participant_id, elapsed_ms, trusted_lag_ms, compensated_ms, charged_ms, quota_ms)


def _per_turn_ms(system: ClockSystem) -> int:
    """Return what each turn brings in this time control."""
    match system:
        case Fischer():
            return system.increment_ms
        case Bronstein() | Delay():
            return system.delay_ms
        case PerMove():
            return system.move_ms
        case Canadian():
            return system.period_ms // system.moves
        case Stages():
            return system.stages[0].increment_ms
        case _:
            return 0
