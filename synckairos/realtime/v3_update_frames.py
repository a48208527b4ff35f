"""Frames of the dialect `synckairos.v3` for the updates of one session: events, full states and deltas."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from synckairos.clock.model import EventType
from synckairos.realtime.session_update import SessionUpdate
from synckairos.wire import v3_messages
from synckairos.wire.document_scan import extract_updated_at_ms
from synckairos.wire.feed_message import FeedMessage


def render_event_frame(update: SessionUpdate) -> bytes:
    """Return the EVENT frame of an update. Its `is_event` must be True."""
    return v3_messages.event_frame(update.message or _deletion_message(update), update.server_time_ms)


def _deletion_message(update: SessionUpdate) -> FeedMessage:
    """Build the feed message of a deletion from its tombstone, for an update without a feed message."""
    at_ms = extract_updated_at_ms(update.snapshot.document)
    return FeedMessage(update.session_id, update.snapshot, EventType.SESSION_DELETED, at_ms)


def render_state_sync_frame(request: v3_messages.Subscribe, update: SessionUpdate, now_ms: int) -> bytes:
    """Return the STATE_SYNC frame that answers a SUBSCRIBE with the full state of `update`.

    `now_ms` is the time in the frame, ms since the Unix epoch.
    """
    members: dict[str, Any] = {} if request.id is None else {"reply_to": request.id}
    if request.has_resume_point:
        members["recovered"] = False
    return v3_messages.state_frame(
        "STATE_SYNC", *session_epoch_and_tag(update), update.version, now_ms, update.snapshot.document, **members
    )


def render_state_update_frame(update: SessionUpdate) -> bytes:
    """Return the STATE_UPDATE frame with the full state of an update."""
    return v3_messages.state_frame(
        "STATE_UPDATE", *session_epoch_and_tag(update), update.version, update.server_time_ms, update.snapshot.document
    )


def render_smallest_change_frame(sent: SessionUpdate, update: SessionUpdate) -> bytes:
    """Return a frame that changes the client's state from `sent` to `update`.

    The frame is a STATE_DELTA if it is smaller than the document of `update`, otherwise a STATE_UPDATE. A STATE_UPDATE
    also names the version of `sent` if versions between the two were skipped.
    """
    patch = update.merge_patch_from(sent)
    if patch is not None:
        frame = v3_messages.state_delta_frame(
            *session_epoch_and_tag(update), sent.version, update.version, update.server_time_ms, patch
        )
        if len(frame) < len(update.snapshot.document):
            return frame
    if sent.version + 1 == update.version:
        return update.cached_frame("v3", render_state_update_frame)
    at_ms = update.server_time_ms
    return v3_messages.state_frame(
        "STATE_UPDATE",
        *session_epoch_and_tag(update),
        update.version,
        at_ms,
        update.snapshot.document,
        from_version=sent.version,
    )


def count_missed_frames(missed: Sequence[SessionUpdate]) -> int:
    """Return the number of frames that `render_missed_frames` yields for these updates."""
    return max(1, sum(1 + each.is_event for each in missed[1:]))


def render_missed_frames(request: v3_messages.Subscribe, missed: Sequence[SessionUpdate]) -> Iterator[bytes]:
    """Yield the frames that answer a SUBSCRIBE with the versions of `missed` after the first version, oldest first.

    Each version has a STATE_DELTA, and an EVENT before it if the version is an event. The first version of `missed`
    must be the version that the client has. If it is the only version, yield an empty delta.
    """
    members = {"recovered": True} if request.id is None else {"reply_to": request.id, "recovered": True}
    if len(missed) == 1:
        (update,) = missed
        version = update.version
        yield v3_messages.state_delta_frame(
            *session_epoch_and_tag(update), version, version, update.server_time_ms, b"{}", **members
        )
    for before, after in itertools.pairwise(missed):
        if after.is_event:
            yield render_event_frame(after)
        patch = after.merge_patch_from(before)
        if patch is None:
            yield v3_messages.state_frame(
                "STATE_UPDATE",
                *session_epoch_and_tag(after),
                after.version,
                after.server_time_ms,
                after.snapshot.document,
                **members,
            )
        else:
            yield v3_messages.state_delta_frame(
                *session_epoch_and_tag(after), before.version, after.version, after.server_time_ms, patch, **members
            )


def session_epoch_and_tag(update: SessionUpdate) -> tuple[str, str, str]:
    """Return the session id, epoch and tag of an update: the first members of its frames."""
    return update.session_id, update.epoch, update.snapshot.tag
