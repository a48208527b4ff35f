"""The checker: compares the history of a run with what the product promises. Pure.

The promises, each with the name of its violations:

- `lost`: Postgres has each acknowledged command.
- `twice`: each command took effect at most once, and each of its answers names the same version.
- `order`: the versions of a session are one order that explains all answers. A command that was sent after an answer
  has a later version, and a read has no earlier version.
- `content`: answers, frames and audit have the same content for the same version.
- `gap`: the audit has each version of an epoch once, and the newest one is that in Redis.
- `time`: the used and the remaining time of a participant are together its total time, which stays the same.
- `expiry`: each countdown expired exactly once, at its deadline.
- `watcher`: a watcher sees no earlier version after a later one of the same epoch, and ends with the version in Redis.
- `replay`: `verify-audit` finds no fault.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.chaos.history import Answer, AuditRow, Frame, History, Position


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that the run broke. `kind` is one of the names above."""

    kind: str
    text: str


def count_lost(history: History) -> int:
    """Return the number of acknowledged commands that Postgres does not have."""
    audited = {(row.session_id, row.command_id) for row in history.audit}
    return len({(each.session_id, each.command_id) for each in history.answers if each.command_id} - audited)


class LostVersions:
    """Decides which versions a run was allowed to lose.

    These are the newest ones of an epoch, above all its versions in the audit, if the session continues under another
    epoch. Without `may_lose` there are none.
    """

    def __init__(self, history: History, *, may_lose: bool) -> None:
        self._may_lose = may_lose
        self._stored = history.stored
        self._last: dict[tuple[str, str], int] = {}
        for row in history.audit:
            epoch, version = row.position
            self._last[row.session_id, epoch] = max(version, self._last.get((row.session_id, epoch), 0))

    def contain(self, session_id: str, position: Position) -> bool:
        """Return whether the run may have lost this version of a session."""
        epoch, version = position
        last = self._last.get((session_id, epoch))
        if not self._may_lose or last is None or session_id not in self._stored:
            return False
        return version > last and self._stored[session_id][0] != epoch


def find_violations(history: History, *, may_lose: bool = False) -> list[Violation]:
    """Return all violations of a run.

    `may_lose`: whether the faults of the run may lose acknowledged commands, see `LostVersions`. For lost versions, the
    promises `lost`, `content` and `twice` then do not hold: a repeated command takes effect again if its version is
    lost. And a watcher can get the remaining version after a lost one, before the session has its new epoch.
    """
    lost = LostVersions(history, may_lose=may_lose)
    found = [
        *_find_lost(history, lost),
        *_find_twice(history, lost),
        *_find_disorder(history),
        *_find_other_content(history, lost),
        *_find_gaps(history),
        *_find_lost_time(history.audit),
        *_find_expiry_faults(history),
        *_find_watcher_faults(history, lost),
        *(Violation("replay", text) for text in history.findings),
    ]
    return list(dict.fromkeys(found))


def _find_lost(history: History, lost: LostVersions) -> Iterator[Violation]:
    audited = {(row.session_id, row.command_id) for row in history.audit}
    for each in history.answers:
        is_audited = not each.command_id or (each.session_id, each.command_id) in audited
        if not is_audited and not lost.contain(each.session_id, each.position):
            yield Violation("lost", f"the acknowledged command {each.command_id} is not in the audit")


def _find_twice(history: History, lost: LostVersions) -> Iterator[Violation]:
    for command_id, count in Counter(row.command_id for row in history.audit if row.command_id).items():
        if count > 1:
            yield Violation("twice", f"command {command_id} has {count} versions")
    positions: dict[str, set[Position]] = defaultdict(set)
    for row in history.audit:
        if row.command_id in history.sent:
            positions[row.command_id].add(row.position)
    for each in [*history.answers, *history.retries]:
        if each.command_id and not lost.contain(each.session_id, each.position):
            positions[each.command_id].add(each.position)
    for command_id, different in positions.items():
        if len(different) > 1:
            yield Violation("twice", f"command {command_id} has the versions {sorted(different)}")


def _find_disorder(history: History) -> Iterator[Violation]:
    for session_id, answers in _by_session(history.answers):
        # Of all answers before the sending of a command, only the one with the latest version matters.
        events = sorted(
            [(each.sent_s, 1, each) for each in answers] + [(each.answered_s, 0, each) for each in answers],
            key=lambda event: event[:2],
        )
        latest, latest_at_send = 0, dict[int, int]()
        for _, is_sending, each in events:
            if is_sending:
                latest_at_send[id(each)] = latest
                continue
            version, before = each.position[1], latest_at_send.get(id(each), 0)
            if version < before or (each.command_id and version == before):
                yield Violation("order", f"{session_id}: {each.client} got version {version} after version {before}")
            latest = max(latest, version)
        owners: dict[Position, str] = {}
        for each in answers:
            if each.command_id and owners.setdefault(each.position, each.command_id) != each.command_id:
                yield Violation("order", f"{session_id}: two commands made version {each.position}")


def _find_other_content(history: History, lost: LostVersions) -> Iterator[Violation]:
    documents = {(row.session_id, *row.position): row.document for row in history.audit}
    seen: list[Answer | Frame] = [*history.answers, *history.retries, *history.frames]
    for each in seen:
        document = documents.get((each.session_id, *each.position))
        if document is None:
            if not lost.contain(each.session_id, each.position):
                yield Violation("content", f"{each.session_id}: version {each.position} is not in the audit")
        elif any(document.get(name) != value for name, value in each.document.items()):
            yield Violation("content", f"{each.session_id}: version {each.position} has two contents")


def _find_gaps(history: History) -> Iterator[Violation]:
    for session_id, rows in _by_session(history.audit):
        by_epoch: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            by_epoch[row.position[0]].append(row.position[1])
        for epoch, versions in by_epoch.items():
            versions.sort()
            for before, after in pairwise(versions):
                if after != before + 1:
                    yield Violation("gap", f"{session_id}: version {after} of {epoch} follows version {before}")
        stored = history.stored.get(session_id)
        if stored is not None and stored not in {row.position for row in rows}:
            yield Violation("gap", f"{session_id}: the audit does not have the stored version {stored}")
        newest = max((row.position for row in rows), key=lambda position: position[1])
        if stored is not None and newest[1] > stored[1]:
            yield Violation("gap", f"{session_id}: the audit has version {newest}, and Redis has {stored}")


def _find_lost_time(audit: Iterable[AuditRow]) -> Iterator[Violation]:
    totals: dict[tuple[str, str], int] = {}
    for row in audit:
        for each in row.document.get("participants", ()):
            total, remaining = each.get("total_time_ms"), each.get("time_remaining_ms")
            if not isinstance(remaining, int) or row.document.get("sync_mode") != "per_participant":
                continue
            key = row.session_id, each["participant_id"]
            if total != each["time_used_ms"] + remaining or totals.setdefault(key, total) != total:
                yield Violation("time", f"{row.session_id}: version {row.position} does not conserve time")


def _find_expiry_faults(history: History) -> Iterator[Violation]:
    expired: dict[str, list[AuditRow]] = defaultdict(list)
    for row in history.audit:
        if row.event_type == "session_expired":
            expired[row.session_id].append(row)
    for session_id, deadline_ms in history.deadlines_ms.items():
        rows = expired[session_id]
        if len(rows) != 1:
            yield Violation("expiry", f"{session_id} expired {len(rows)} times")
        for row in rows:
            if row.occurred_ms != deadline_ms:
                yield Violation("expiry", f"{session_id} expired {row.occurred_ms - deadline_ms} ms after its deadline")


def _find_watcher_faults(history: History, lost: LostVersions) -> Iterator[Violation]:
    streams: dict[tuple[str, str, int], list[Position]] = defaultdict(list)
    last: dict[tuple[str, str], Position] = {}
    for frame in history.frames:
        streams[frame.watcher, frame.session_id, frame.connection].append(frame.position)
        last[frame.watcher, frame.session_id] = frame.position
    for (watcher, session_id, _), positions in streams.items():
        for before, after in pairwise(positions):
            if before[0] == after[0] and after[1] < before[1] and not lost.contain(session_id, before):
                yield Violation("watcher", f"{session_id}: {watcher} got {after} after {before}")
    for (watcher, session_id), position in last.items():
        stored = history.stored.get(session_id)
        if stored is not None and position != stored:
            yield Violation("watcher", f"{session_id}: {watcher} ended with {position}, and Redis has {stored}")


def _by_session(items: Iterable[Any]) -> Iterator[tuple[str, list[Any]]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for each in items:
        groups[each.session_id].append(each)
    yield from groups.items()
