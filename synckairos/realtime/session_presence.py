"""Presence of one session: its watchers on this instance, and the total of all instances."""

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from synckairos.realtime.watcher_interface import Subscription
from synckairos.wire import v3_messages
from synckairos.wire.presence_counts import PresenceCounts, PresenceIdentity


class _WatcherEntry(NamedTuple):
    identity: PresenceIdentity
    wants_frames: bool


@lru_cache(maxsize=256)
def _watcher_entry(identity: PresenceIdentity, wants_frames: bool) -> _WatcherEntry:
    # Equal entries share one object, so that ten thousand viewers need the memory of one entry.
    return _WatcherEntry(identity, wants_frames)


class SessionPresence:
    """Presence of one session: the watchers on this instance, and the total of all instances."""

    __slots__ = (
        *("_entries", "_local_counts", "frame", "frame_time_ms", "is_changed", "next_frame_s", "other_instances"),
        *("owed", "total", "written"),
    )

    def __init__(self) -> None:
        self._entries: dict[Subscription, _WatcherEntry] = {}
        self._local_counts: Counter[PresenceIdentity] = Counter()
        self.owed: set[Subscription] = set()
        """Subscriptions that must still get `frame`."""
        self.written: bytes | None = b""
        """The latest counts that this instance wrote to Redis. None if Redis may have lost these counts."""
        self.other_instances: tuple[str, ...] = ()
        """Names of the other instances with watchers of this session."""
        self.total: PresenceCounts | None = None
        """Sum of the counts of all instances. None before the first round."""
        self.frame = b""
        """The newest PRESENCE frame, which contains `total`. Empty before the first round."""
        self.frame_time_ms = 0
        """The time of Redis in `frame`, ms since the Unix epoch."""
        self.is_changed = False
        """Whether `frame` changed and its sending to all watchers has not begun."""
        self.next_frame_s = 0.0
        """The earliest instant at which a changed frame may be sent, in seconds by `time.monotonic()`."""

    @property
    def has_watchers(self) -> bool:
        """Return whether this instance counts a watcher of the session."""
        return bool(self._entries)

    def add(self, subscription: Subscription, identity: PresenceIdentity, *, wants_frames: bool) -> None:
        """Count a watcher. If `wants_frames` is True, it must get the next frame."""
        self._entries[subscription] = _watcher_entry(identity, wants_frames)
        self._local_counts[identity] += 1
        if wants_frames:
            self.owed.add(subscription)

    def remove(self, subscription: Subscription) -> bool:
        """Stop to count a watcher. Return False if it was not counted."""
        entry = self._entries.pop(subscription, None)
        if entry is None:
            return False
        self._uncount(entry.identity)
        self.owed.discard(subscription)
        return True

    def change_identity(self, subscription: Subscription, identity: PresenceIdentity) -> bool:
        """Count a watcher under another identity. Return False if it is not counted, or has this identity already."""
        entry = self._entries.get(subscription)
        if entry is None or entry.identity == identity:
            return False
        self._entries[subscription] = _watcher_entry(identity, entry.wants_frames)
        self._local_counts[identity] += 1
        self._uncount(entry.identity)
        return True

    def owe_frame_to_all(self) -> None:
        """Note that all watchers that want frames must get `frame`."""
        self.owed.update(each for each, entry in self._entries.items() if entry.wants_frames)

    def frame_for(self, subscription: Subscription) -> bytes:
        """Return `frame` for a subscription. If its client gets one row, the frame names no other participant."""
        only = subscription.only
        if only is None or self.total is None:
            return self.frame
        participants = tuple(each for each in self.total.participants if each == only)
        total = PresenceCounts(self.total.roles, participants)
        return v3_messages.presence_frame(subscription.session_id, self.frame_time_ms, total)

    def local(self) -> PresenceCounts:
        """Return the counts of the watchers on this instance."""
        return PresenceCounts.from_connections(self._local_counts)

    def _uncount(self, identity: PresenceIdentity) -> None:
        self._local_counts[identity] -= 1
        if not self._local_counts[identity]:
            del self._local_counts[identity]
