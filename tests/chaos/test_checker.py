"""The checker catches each kind of fault, and accepts a history without faults."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.bugs import BUGS, SeededBug
from tests.chaos.checker import count_lost, find_violations
from tests.chaos.faults import FAULTS
from tests.chaos.history import Answer, AuditRow, Frame, History
from tests.earlier_releases import ROOT

EPOCH, NEW_EPOCH, SESSION, COUNTDOWN = "e1", "e2", "s", "c"


def document(version: int) -> dict[str, object]:
    people = [
        {"participant_id": "p", "total_time_ms": 100, "time_used_ms": version, "time_remaining_ms": 100 - version}
    ]
    return {"session_id": SESSION, "version": version, "sync_mode": "per_participant", "participants": people}


def answer(version: int, sent_s: float, answered_s: float, command_id: str | None = None) -> Answer:
    command_id = f"command-{version}" if command_id is None else command_id
    return Answer("client", SESSION, command_id, sent_s, answered_s, (EPOCH, version), document(version))


def sound_history() -> History:
    """Return a run of four commands, one of them without an answer, a read, a watcher and a countdown."""
    rows = [
        AuditRow(SESSION, (EPOCH, version), f"command-{version}", "cycle_switched", version, document(version))
        for version in range(1, 5)
    ]
    expired = AuditRow(COUNTDOWN, (EPOCH, 1), None, "session_expired", 5_000, {})
    return History(
        answers=[answer(1, 0, 1), answer(2, 1, 2), answer(4, 2.5, 4), answer(2, 2.1, 2.2, "")],
        frames=[Frame("watcher", 1, SESSION, (EPOCH, version), document(version)) for version in (1, 2, 4)],
        audit=[*rows, expired],
        stored={SESSION: (EPOCH, 4), COUNTDOWN: (EPOCH, 1)},
        deadlines_ms={COUNTDOWN: 5_000},
        sent={f"command-{version}": SESSION for version in range(1, 5)},
    )


def kinds(history: History, *, may_lose: bool = False) -> set[str]:
    return {each.kind for each in find_violations(history, may_lose=may_lose)}


def test_a_history_without_faults_has_no_violation() -> None:
    assert find_violations(sound_history()) == []


def lose_a_command(history: History) -> None:
    history.audit = [row for row in history.audit if row.command_id != "command-4"]
    history.stored[SESSION] = (EPOCH, 3)
    history.frames.append(Frame("watcher", 2, SESSION, (EPOCH, 3), document(3)))


def repeat_a_command(history: History) -> None:
    history.audit[2] = replace(history.audit[2], command_id="command-2")


def answer_a_retry_with_another_version(history: History) -> None:
    history.retries.append(answer(3, 3, 3.5, "command-2"))


def make_a_version_twice(history: History) -> None:
    history.answers.append(answer(2, 1, 2, "other"))


def read_an_old_version(history: History) -> None:
    history.answers.append(answer(1, 5, 6, ""))


def commit_out_of_order(history: History) -> None:
    history.answers.append(answer(3, 5, 6))


def change_content(history: History) -> None:
    history.answers[1] = replace(history.answers[1], document={"version": 2, "status": "other"})


def show_a_frame_that_was_never_committed(history: History) -> None:
    history.frames.insert(0, Frame("watcher", 1, SESSION, ("other", 7), {}))


def leave_a_gap(history: History) -> None:
    del history.audit[2]


def create_time(history: History) -> None:
    people = [{"participant_id": "p", "total_time_ms": 101, "time_used_ms": 3, "time_remaining_ms": 98}]
    history.audit[2] = replace(history.audit[2], document={**document(3), "participants": people})


def expire_late(history: History) -> None:
    history.audit[-1] = replace(history.audit[-1], occurred_ms=5_001)


def expire_never(history: History) -> None:
    del history.audit[-1]


def expire_twice(history: History) -> None:
    history.audit.append(replace(history.audit[-1], position=(EPOCH, 2)))
    history.stored[COUNTDOWN] = (EPOCH, 2)


def show_versions_backwards(history: History) -> None:
    history.frames[0], history.frames[1] = history.frames[1], history.frames[0]


def miss_the_last_version(history: History) -> None:
    del history.frames[-1]


def fail_the_replay(history: History) -> None:
    history.findings.append("mismatch 3")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (lose_a_command, "lost"),
        (repeat_a_command, "twice"),
        (answer_a_retry_with_another_version, "twice"),
        (make_a_version_twice, "order"),
        (read_an_old_version, "order"),
        (commit_out_of_order, "order"),
        (change_content, "content"),
        (show_a_frame_that_was_never_committed, "content"),
        (leave_a_gap, "gap"),
        (create_time, "time"),
        (expire_late, "expiry"),
        (expire_never, "expiry"),
        (expire_twice, "expiry"),
        (show_versions_backwards, "watcher"),
        (miss_the_last_version, "watcher"),
        (fail_the_replay, "replay"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_checker_catches(fault: Callable[[History], None], kind: str) -> None:
    history = sound_history()
    fault(history)
    assert kind in kinds(history)


def lossy_history() -> History:
    """Return a run whose version 4 was lost. The session continued under another epoch, where its command was repeated.

    A watcher got the lost version, then the remaining one, and then the versions of the new epoch.
    """
    history = sound_history()
    history.audit.pop(3)
    history.audit += [
        AuditRow(SESSION, (NEW_EPOCH, 5), None, "session_recovered", 5, document(5)),
        AuditRow(SESSION, (NEW_EPOCH, 6), "command-4", "cycle_switched", 6, document(6)),
    ]
    history.stored[SESSION] = (NEW_EPOCH, 6)
    history.retries.append(replace(answer(6, 5, 6, "command-4"), position=(NEW_EPOCH, 6)))
    history.frames += [
        Frame("watcher", 1, SESSION, position, document(position[1]))
        for position in ((EPOCH, 3), (NEW_EPOCH, 5), (NEW_EPOCH, 6))
    ]
    return history


def test_lost_versions_are_no_violation_if_the_run_may_lose_them() -> None:
    assert kinds(lossy_history(), may_lose=True) == set()
    assert kinds(lossy_history()) == {"content", "twice", "watcher"}
    assert count_lost(lossy_history()) == 0  # the repetition is in the audit
    history = lossy_history()
    history.audit.pop()
    history.retries.clear()
    history.frames.pop()
    history.stored[SESSION] = (NEW_EPOCH, 5)
    assert kinds(history, may_lose=True) == set()
    assert count_lost(history) == 1
    assert "lost" in kinds(history)


def continue_under_the_same_epoch(history: History) -> None:
    history.audit = [row for row in history.audit if row.position[0] == EPOCH]
    history.stored[SESSION] = (EPOCH, 3)
    history.frames = history.frames[:-2]
    history.retries.clear()


def lose_a_version_between_others(history: History) -> None:
    history.answers.append(answer(3, 2.1, 2.4))
    history.audit[2] = replace(history.audit[2], command_id="other")


def repeat_a_lost_command_twice(history: History) -> None:
    history.retries.append(replace(answer(5, 7, 8, "command-4"), position=(NEW_EPOCH, 5)))


def show_versions_backwards_that_were_not_lost(history: History) -> None:
    history.frames.insert(2, Frame("watcher", 1, SESSION, (EPOCH, 1), document(1)))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (continue_under_the_same_epoch, "lost"),
        (continue_under_the_same_epoch, "content"),
        (continue_under_the_same_epoch, "watcher"),
        (lose_a_version_between_others, "lost"),
        (repeat_a_lost_command_twice, "twice"),
        (repeat_a_command, "twice"),
        (show_versions_backwards_that_were_not_lost, "watcher"),
        (show_a_frame_that_was_never_committed, "content"),
        (change_content, "content"),
        (miss_the_last_version, "watcher"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_checker_catches_what_a_run_with_losses_may_not_do(fault: Callable[[History], None], kind: str) -> None:
    history = lossy_history()
    fault(history)
    assert kind in kinds(history, may_lose=True)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.partition(":")[0].replace(" ", "-"))
def test_seeded_bug_fits_the_source(bug: SeededBug, tmp_path: Path) -> None:
    for path, _, _ in bug.changes:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    bug.plant(tmp_path)
    assert bug.fault in {each.name for each in FAULTS}
