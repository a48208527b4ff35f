"""Mutants that behave as the clock does: no test can catch them."""

from tests.mutants.mutant import Mutant

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "budget.py",
        "flip GtE",
        "if may_fall_below_zero or left_ms > 0:",
    ): "the following line also returns 0 if 0 is left",
    (
        "budget.py",
        "one more",
        "if may_fall_below_zero or left_ms >= 1:",
    ): "the following line also returns 0 if 0 is left",
    (
        "individual/all_clocks.py",
        "omit updated_at_ms",
        "moved = replace(settled, starts_at_ms=starts_at_ms, ends_at_ms=ends_at_ms)",
    ): "the next version, which the caller makes, sets updated_at_ms to the same instant",
    (
        "individual/all_clocks.py",
        "one more",
        "if read.remaining_ms >= 1 or moved.rules.on_timeout is OnTimeout.OVERTIME:",
    ): "the following lines change no clock with exactly 0 ms",
    (
        "individual/clock_rows.py",
        "flip Mult",
        "if index is not None and index.is_of(state) and (SCAN_SHARE + len(changes) <= len(rows)):",
    ): "the condition only decides whether the index is changed or built again",
    (
        "individual/row_clock.py",
        "flip Or",
        "left_ms = 0 if end_ms is None and from_ms is None else end_ms - from_ms",
    ): "in a session with an end, both instants are None exactly if the start is not known",
    (
        "individual/row_clock.py",
        "one more",
        "return scaled_ms if time_ms >= 1 else -scaled_ms",
    ): "0 ms are 0 ms with each factor",
    (
        "join_leave.py",
        "flip Lt",
        "position, active = (sum((p.index <= index for p in state.participants)), state.active_position)",
    ): "no other participant has this index",
    (
        "pauses.py",
        "omit anchor_ms",
        "return replace(state, pauses=(), status=Status.RUNNING)",
    ): "the turn that a switch began already has this anchor",
    (
        "rest_days.py",
        "one more",
        "for week in range(5):",
    ): "the next rest begins in the second or third of the four weeks, so no caller sees the rests of a further week",
    (
        "rest_days.py",
        "one more",
        "weeks = (running_ms - 2) // working_ms",
    ): "the loop after it walks through the week that is then not skipped",
    (
        "simulation.py",
        "flip IsNot",
        "if ended is None and ended.rules.sync_mode is SyncMode.INDIVIDUAL:",
    ): "a reopening in individual ignores the turn in which the session ended",
    (
        "stages.py",
        "flip Lt",
        "return bool(self.stages[number].at_zero) and number + 1 <= len(self.stages)",
    ): "the wire refuses at_zero in the last stage, so no stage with at_zero has the last number",
    (
        "stages.py",
        "flip Add",
        "return bool(self.stages[number].at_zero) and number - 1 < len(self.stages)",
    ): "the wire refuses at_zero in the last stage, so no stage with at_zero has the last number",
    (
        "turns.py",
        "omit remaining_ms",
        "return (replace(extended, ends_at_ms=now_ms + extended_ms), None)",
    ): "the begin of the next turn or of the hold sets the session's own budget to the other returned value, None",
    (
        "upcoming_event.py",
        "flip GtE",
        "if left_ms > 0:",
    ): "a clock at exactly zero has no free time left",
    (
        "upcoming_event.py",
        "flip Or",
        "return 0 if active is None and active.lag is None else min(active.lag.quota_ms, MAX_GRACE_MS)",
    ): "lag compensation is a setting of per_participant, where a running session has an active participant with an "
    "account",
    (
        "update_participant.py",
        "one more",
        "return 1",
    ): "per_move ignores the main time, and 1 ms more never changes the gain of a lag account",
}
"""For each module, kind of bug and statement with the bug: the reason why the behaviour is the same."""


def is_equivalent(mutant: Mutant) -> bool:
    """Return whether the list above has this mutant."""
    # To build a statement takes long, so it is built only if it can decide.
    listed = {statement for module, kind, statement in EQUIVALENT if (module, kind) == (mutant.module, mutant.kind)}
    return bool(listed) and mutant.statement() in listed
