"""Lag compensation: the network's part of a turn is not charged, within a quota that false claims cannot exceed.

The rules follow lichess. The time control determines the gain of the quota. A client's claim counts up to the lag that
the server measured plus a tolerance. A compensated turn ends earlier by that time, in every clock system. The
compensated time is charged to no budget.
"""

from msgspec import Struct

from synckairos.clock.clock_systems import Bronstein, Byoyomi, Canadian, ClockSystem, Delay, Fischer, PerMove, Stages

CLAIM_TOLERANCE_MS = 140
"""Milliseconds that a claim may exceed the server's measurement.

The tolerance covers the client's own delay and the variation of the network.
"""

EXPECTED_TURNS = 40
"""Turns that a session is assumed to have for each participant."""

MIN_GAIN_MS, MAX_GAIN_MS = 150, 1_000
"""Milliseconds that each turn adds to the quota: smallest and largest value."""

GAIN_MS_PER_S = 4
"""Milliseconds of gain for each second of the expected time of a participant."""

INITIAL_QUOTA_TURNS, MAX_QUOTA_TURNS = 3, 7
"""Turns whose gain the quota holds at the start, and at most."""


class LagAccount(Struct, frozen=True):
    """The lag account of one participant, in ms: remaining quota, gain per turn, and total compensated time."""

    quota_ms: int
    gain_ms: int
    compensated_ms: int = 0


class LagReceipt(Struct, frozen=True):
    """The charge of one finished turn: `elapsed_ms` since the anchor = `compensated_ms` + `charged_ms`.

    `trusted_lag_ms` is the accepted part of the claim. `quota_left_ms` is the quota after the turn.
    """

    participant_id: str
    elapsed_ms: int
    trusted_lag_ms: int
    compensated_ms: int
    charged_ms: int
    quota_left_ms: int


def open_lag_account(system: ClockSystem, budget_ms: int, *, counts_byoyomi: bool = True) -> LagAccount:
    """Return a new account.

    Its gain is 150 ms per turn plus 4 ms for each second of the time control, at most 1 s. Without `counts_byoyomi`,
    byo-yomi adds nothing to the time control. This is the rule of early versions, whose audit rows must replay.
    """
    is_counted = counts_byoyomi or not isinstance(system, Byoyomi)
    expected_ms = budget_ms + (EXPECTED_TURNS * _time_per_turn_ms(system) if is_counted else 0)
    gain_ms = min(MAX_GAIN_MS, MIN_GAIN_MS + expected_ms * GAIN_MS_PER_S // 1000)
    return LagAccount(INITIAL_QUOTA_TURNS * gain_ms, gain_ms)


def trust_lag_claim(claimed_ms: int | None, measured_ms: int | None) -> int:
    """Return the part of a claim that is accepted, ms. Without a measurement it is at most the tolerance."""
    return min(claimed_ms or 0, (measured_ms or 0) + CLAIM_TOLERANCE_MS)


def compensate(
    account: LagAccount, participant_id: str, elapsed_ms: int, trusted_lag_ms: int
) -> tuple[LagAccount, LagReceipt]:
    """Return the account after a turn, and the turn's receipt.

    The compensated time is at most the quota and at most the time of the turn.
    """
    compensated_ms = min(trusted_lag_ms, account.quota_ms, elapsed_ms)
    quota_ms = min(account.quota_ms + account.gain_ms - compensated_ms, MAX_QUOTA_TURNS * account.gain_ms)
    after = LagAccount(quota_ms, account.gain_ms, account.compensated_ms + compensated_ms)
    charged_ms = elapsed_ms - compensated_ms
    return after, LagReceipt(participant_id, elapsed_ms, trusted_lag_ms, compensated_ms, charged_ms, quota_ms)


def _time_per_turn_ms(system: ClockSystem) -> int:
    """Return the time that each turn adds in this clock system, ms."""
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
            return system.stages[0].increment_ms
        case _:
            return 0
