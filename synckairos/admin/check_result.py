"""Result of one check of `synckairos doctor`, and its text."""

from dataclasses import dataclass

import orjson

from synckairos.urls.redact_url import redact_url


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check.

    `result` is what the check found. If `passed` is False, `remedy` is what the operator must do.
    """

    name: str
    passed: bool
    result: str
    remedy: str = ""


def render_check(check: CheckResult) -> str:
    """Return the text of a check. If the check failed, its remedy is on a second line."""
    line = f"{'ok  ' if check.passed else 'BAD '} {check.name}: {check.result}"
    return line if check.passed or not check.remedy else f"{line}\n     -> {check.remedy}"


def render_check_json(check: CheckResult) -> str:
    """Return one check as a line of JSON. `remedy` is null if the check passed."""
    remedy = None if check.passed else check.remedy or None
    values = {"name": check.name, "passed": check.passed, "result": check.result, "remedy": remedy}
    return orjson.dumps(values).decode()


def first_line(error: Exception) -> str:
    """Return the first line of the text of an error, with passwords removed."""
    return redact_url(str(error).strip().split("\n")[0]) or type(error).__name__
