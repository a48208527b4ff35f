"""Mutants that behave as the clock does: no test can catch them."""

from tests.mutants.mutant import Mutant

EQUIVALENT: dict[tuple[str, str, str], str] = {
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
        "flip Or",
        "return 0 if active is None and active.lag is None else min(active.lag.quota_ms, MAX_GRACE_MS)",
    ): "lag compensation is a setting of per_participant, where a running session has an active participant with an "
    "account",
}
"""For each module, kind of bug and statement with the bug: the reason why the behaviour is the same."""


def is_equivalent(mutant: Mutant) -> bool:
    """Return whether the list above has this mutant."""
    modules = {module for module, _, _ in EQUIVALENT}
    return mutant.module in modules and (mutant.module, mutant.kind, mutant.statement()) in EQUIVALENT
