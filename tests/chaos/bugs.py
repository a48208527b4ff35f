"""Seeded bugs: changes of the source that break a promise. The checker must find a violation in a run with each bug."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SeededBug:
    """A bug. Each of `changes` is a file, a text in it, and the text that replaces it.

    `fault` is the name of the fault during which the bug shows.
    """

    name: str
    fault: str
    changes: tuple[tuple[str, str, str], ...]

    def plant(self, tree: Path) -> None:
        """Change the source in `tree`.

        Raises: AssertionError if a text is not there exactly once, because the source has changed since.
        """
        for path, old, new in self.changes:
            text = (tree / path).read_text()
            assert text.count(old) == 1, f"{self.name}: {path} does not have this text once: {old}"
            (tree / path).write_text(text.replace(old, new))


_COMMIT = "synckairos/store/lua/commit.lua"
_FEED = "synckairos/store/feed.py"
_EXECUTOR = "synckairos/service/command_executor.py"
_PUBLISH = """if is_conflict then
  for at = FIRST, #ARGV, EACH do
    redis.call('PUBLISH', feed_channel, ARGV[at + HEADER] .. ARGV[at + BODY])
  end
"""

BUGS = (
    SeededBug(
        "lock dropped: a commit does not check the version before it",
        "feed messages lost",
        ((_COMMIT, "if is_conflict then\n", "if is_conflict and not stored_epoch then\n"),),
    ),
    SeededBug(
        "retry without id: a repeated command is executed again",
        "connections to Redis cut",
        (
            (_COMMIT, "local found = redis.call('HGET', records_key, command_id)\n", "local found = false\n"),
            (
                _EXECUTOR,
                "if loaded.record is not None:",
                "if loaded.record is Ellipsis:",
            ),
        ),
    ),
    SeededBug(
        "publish before commit: watchers get versions that lost a race",
        "feed messages lost",
        ((_COMMIT, "if is_conflict then\n", _PUBLISH),),
    ),
    SeededBug(
        "TTL before audit: a session expires although Postgres lacks versions",
        "worker suspended",
        (
            (
                _COMMIT,
                "  -- The history is trimmed once in several versions.\n",
                "  redis.call('PEXPIRE', session_key, 20)\n",
            ),
        ),
    ),
    SeededBug(
        "missed gap: the feed delivers no version after a lost message",
        "feed messages lost",
        (
            (
                _FEED,
                "elif at is None or message.snapshot.epoch != at.epoch or message.snapshot.version > at.version:",
                "elif at is None:",
            ),
            (_FEED, "            if not watched.is_at(stored):\n", "            if stored is None:\n"),
        ),
    ),
    SeededBug(
        "late expiry: a deadline takes effect 5 ms late",
        "server suspended",
        (
            (
                "synckairos/clock/overdue.py",
                "at_ms = max(due.at_ms, state.updated_at_ms)\n",
                "at_ms = max(due.at_ms, state.updated_at_ms) + 5\n",
            ),
        ),
    ),
)
