"""Update: one version of a session for its watchers, with a cache of the frames rendered from this version."""

from collections.abc import Callable, Hashable
from itertools import count

import orjson

from synckairos.clock.transition import EVENTS_THAT_CHANGE_LABELS, EventType
from synckairos.principal import Principal, Role
from synckairos.wire import document_merge_patch
from synckairos.wire.document_scan import extract_labels, is_second_edition, starts_at_instant
from synckairos.wire.document_split import DocumentParts
from synckairos.wire.feed_message import EVENTS_SENT, FeedMessage
from synckairos.wire.participant_view import render_participant_view
from synckairos.wire.snapshot import SessionSnapshot

_serials = count()


def _is_event_sent(message: FeedMessage) -> bool:
    """Return whether v3 sends an EVENT message for this version.

    In the second edition, each event that time caused has one. An earlier release does not say the cause, and sends an
    EVENT message for a start at `starts_at`.
    """
    if message.event_type in EVENTS_SENT:
        return True
    if message.is_by_time:
        return is_second_edition(message.snapshot.document)
    is_start = message.event_type is EventType.SESSION_STARTED
    return is_start and starts_at_instant(message.snapshot.document, message.at_ms)


class SessionUpdate:
    """One version of a session, with cached frames.

    - `message`: the feed message of this version. None if the snapshot was read from the store.
    - `is_event`: whether v3 also sends an EVENT message for this version.
    - `serial`: a number that is unique in this process.
    - `epoch` and `version`: copies from the snapshot, because the fan-out compares them for each watcher.
    - `server_time_ms`: estimated Redis time at which this instance received the version.
    """

    __slots__ = (
        "_frames",
        "_parts",
        "_patches",
        "_views",
        "deltas",
        "epoch",
        "is_event",
        "message",
        "serial",
        "server_time_ms",
        "session_id",
        "snapshot",
        "version",
    )

    def __init__(
        self, session_id: str, snapshot: SessionSnapshot, server_time_ms: int, message: FeedMessage | None = None
    ) -> None:
        self.session_id = session_id
        self.snapshot = snapshot
        self.epoch = snapshot.epoch
        self.version = snapshot.version
        self.server_time_ms = server_time_ms
        self.message = message
        self.is_event = snapshot.deleted or (message is not None and _is_event_sent(message))
        self.serial = next(_serials)
        self._frames: dict[Hashable, bytes] = {}
        self._parts: DocumentParts | None = None
        self._patches: dict[int, document_merge_patch.Json | None] = {}
        self._views: dict[str, bytes] = {}
        self.deltas: dict[int, bytes] = {}
        """v3 frames with the change from an earlier version to this version, by the `serial` of the earlier update.

        They are for watchers that get all rows.
        """

    @classmethod
    def from_message(cls, message: FeedMessage, server_time_ms: int) -> "SessionUpdate":
        """Return the update of a feed message.

        `server_time_ms` is the estimated Redis time of its arrival, ms since the Unix epoch.
        """
        return cls(message.session_id, message.snapshot, server_time_ms, message)

    @property
    def is_deletion_from_store(self) -> bool:
        """Return whether this update is a deletion that was read from the store instead of the feed.

        A watcher that never had a state of the session ignores such an update. The watcher waits until the session is
        created again.
        """
        return self.snapshot.deleted and self.message is None

    def cached_frame(self, kind: Hashable, render: Callable[["SessionUpdate"], bytes]) -> bytes:
        """Return the frame of the kind `kind`.

        The first call renders the frame with `render`; later calls return the same bytes.
        """
        frame = self._frames.get(kind)
        if frame is None:
            frame = self._frames[kind] = render(self)
        return frame

    def merge_patch_from(self, before: "SessionUpdate") -> bytes | None:
        """Return the JSON merge patch from the document of `before` to the document of this update.

        Return None if a merge patch cannot express the change. The patch is taken from the feed message if the message
        is based on `before`. Otherwise the patch is calculated from both documents.
        """
        change = None if self.message is None else self.message.change
        if change is not None and change.base_tag == before.snapshot.tag:
            return change.patch or None
        return document_merge_patch.render_document_patch(before.parts(), self.parts())

    def document_for(self, only: str | None) -> bytes:
        """Return the document for watchers that get the row of the participant `only` alone; None for all rows."""
        if only is None:
            return self.snapshot.document
        view = self._views.get(only)
        if view is None:
            view = self._views[only] = render_participant_view(self.snapshot.document, only)
        return view

    def parsed_merge_patch_from(self, before: "SessionUpdate") -> document_merge_patch.Json | None:
        """Return the merge patch of `merge_patch_from` as JSON values. Only the first call for `before` parses it."""
        if before.serial not in self._patches:
            patch = self.merge_patch_from(before)
            self._patches[before.serial] = None if patch is None else orjson.loads(patch)
        return self._patches[before.serial]

    @property
    def may_change_labels(self) -> bool:
        """Return whether the labels of this version can differ from those of the version before."""
        return self.message is None or self.message.event_type in EVENTS_THAT_CHANGE_LABELS

    def role_of(self, principal: Principal) -> Role | None:
        """Return the role of a client on the session with the labels of this version.

        None if the client cannot reach the session.
        """
        labels = extract_labels(self.snapshot.document).items() if principal.depends_on_labels else ()
        return principal.role_on(self.session_id, labels)

    def parts(self) -> DocumentParts:
        """Return the parts of the session document. Only the first call parses the document."""
        if self._parts is None:
            self._parts = DocumentParts.parse(self.snapshot.document)
        return self._parts

    def is_covered_by(self, other: "SessionUpdate | None") -> bool:
        """Return whether `other` has the same epoch as this update and the same or a later version.

        False if `other` is None. If the result is True, a watcher that has `other` does not need this update.
        """
        return other is not None and other.epoch == self.epoch and other.version >= self.version

    def proves_loss_of_version(self, known: "SessionUpdate") -> bool:
        """Return whether this update proves that the store lost the version of `known`.

        The caller must have read this update after `known` was committed. A lower version in the same epoch is a proof.
        The same version in the same epoch with another tag is also a proof: the store issued the version number again
        with other content.
        """
        if self.epoch != known.epoch or self.version > known.version:
            return False
        return (self.version, self.snapshot.tag) != (known.version, known.snapshot.tag)
