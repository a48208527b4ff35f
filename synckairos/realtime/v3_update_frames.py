"""Frames of the dialect `synckairos.v3` for the updates of one session: events, full states and deltas."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from synckairos.clock.transition import EventType
from synckairos.realtime.session_update import SessionUpdate
from synckairos.wire import v3_messages
from synckairos.wire.document_scan import extract_updated_at_ms
from synckairos.wire.event_view import concerns, limit_event
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.participant_view import NO_PARTICIPANT, changes_row, limit_patch


def event_frame_for(update: SessionUpdate, only: str | None) -> bytes | None:
    """Return the EVENT frame of an update for watchers that get the row of the participant `only` alone, None for all.

    `is_event` of the update must be True. Return None if these watchers get no EVENT: it concerns the clocks of other
    participants. Equal frames are rendered once.
    """
    message = update.message or _deletion_message(update)
    if only is not None:
        limited = limit_event(message, only)
        if limited is None:
            return None
        if limited != message:
            key = ("v3 event", only if concerns(message, only) else NO_PARTICIPANT)
            return update.cached_frame(key, lambda _: v3_messages.event_frame(limited, update.server_time_ms))
    return update.cached_frame("v3 event", lambda _: v3_messages.event_frame(message, update.server_time_ms))


def _deletion_message(update: SessionUpdate) -> FeedMessage:
    """Build the feed message of a deletion from its tombstone, for an update without a feed message."""
    at_ms = extract_updated_at_ms(update.snapshot.document)
    return FeedMessage(update.session_id, update.snapshot, EventType.SESSION_DELETED, at_ms)


def render_state_sync_frame(
    request: v3_messages.Subscribe, update: SessionUpdate, now_ms: int, only: str | None
) -> bytes:
    """Return the STATE_SYNC frame that answers a SUBSCRIBE with the full state of `update`.

    `now_ms` is the time in the frame, ms since the Unix epoch.
    """
    members: dict[str, Any] = {} if request.id is None else {"reply_to": request.id}
    if request.has_resume_point:
        members["recovered"] = False
    return v3_messages.state_frame(
        "STATE_SYNC", *session_epoch_and_tag(update), update.version, now_ms, update.document_for(only), **members
    )


def state_update_frame_for(update: SessionUpdate, only: str | None) -> bytes:
    """Return the STATE_UPDATE frame with the full state of an update. It is rendered once for each `only`."""

    def render(update: SessionUpdate) -> bytes:
        position, at_ms = session_epoch_and_tag(update), update.server_time_ms
        return v3_messages.state_frame("STATE_UPDATE", *position, update.version, at_ms, update.document_for(only))

    return update.cached_frame("v3" if only is None else ("v3", only), render)


def change_frame_for(sent: SessionUpdate, update: SessionUpdate, only: str | None) -> bytes:
    """Return the frame that changes the client's state from `sent` to `update`, see `render_smallest_change_frame`.

    The frame is rendered once for all watchers that get all rows, once for each changed row of watchers that get this
    row alone, and once for all other watchers with one row.
    """
    if only is None:
        frame = update.deltas.get(sent.serial)
        if frame is None:
            frame = update.deltas[sent.serial] = render_smallest_change_frame(sent, update)
        return frame
    patch = update.parsed_merge_patch_from(sent)
    if patch is None:
        return state_update_frame_for(update, only)

    def render(update: SessionUpdate) -> bytes:
        position, at_ms = session_epoch_and_tag(update), update.server_time_ms
        limited = orjson.dumps(limit_patch(patch, only, update.snapshot.document))
        return v3_messages.state_delta_frame(*position, sent.version, update.version, at_ms, limited)

    return update.cached_frame(("v3 delta", sent.serial, only if changes_row(patch, only) else NO_PARTICIPANT), render)


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
        return state_update_frame_for(update, None)
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


def render_missed_frames(
    request: v3_messages.Subscribe, missed: Sequence[SessionUpdate], only: str | None
) -> Iterator[bytes]:
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
        if after.is_event and (event := event_frame_for(after, only)) is not None:
            yield event
        patch = _patch_between(before, after, only)
        if patch is None:
            yield v3_messages.state_frame(
                "STATE_UPDATE",
                *session_epoch_and_tag(after),
                after.version,
                after.server_time_ms,
                after.document_for(only),
                **members,
            )
        else:
            yield v3_messages.state_delta_frame(
                *session_epoch_and_tag(after), before.version, after.version, after.server_time_ms, patch, **members
            )


def _patch_between(before: SessionUpdate, after: SessionUpdate, only: str | None) -> bytes | None:
    if only is None:
        return after.merge_patch_from(before)
    patch = after.parsed_merge_patch_from(before)
    return None if patch is None else orjson.dumps(limit_patch(patch, only, after.snapshot.document))


def session_epoch_and_tag(update: SessionUpdate) -> tuple[str, str, str]:
    """Return the session id, epoch and tag of an update: the first members of its frames."""
    return update.session_id, update.epoch, update.snapshot.tag
