"""The commands `update_metadata` and `update_session`: metadata, labels, and the instants of start and end."""

import json
from typing import Any

from synckairos.clock.commands import UpdateSession
from synckairos.clock.make_transition import make_session_event, with_next_version
from synckairos.clock.merge_patch import is_identical_json, merge_patch
from synckairos.clock.model import Session
from synckairos.clock.start_and_end import change_start_and_end
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace

MAX_LABELS = 16
"""Maximum number of labels of a session."""

MAX_METADATA_BYTES = 32 * 1024
"""Bytes: maximum size of a session's metadata as JSON."""


def update_metadata(state: Session, patch: dict[str, Any], now_ms: int) -> Transition | None:
    """Return the transition that merges `patch` into the metadata. Return None if nothing changes.

    Raises: ValidationFailed if the metadata would be too large.
    """
    metadata = _patched_metadata(state, patch)
    if metadata is state.metadata:
        return None
    updated = replace(with_next_version(state, now_ms), metadata=metadata)
    return Transition(make_session_event(EventType.METADATA_UPDATED, updated, now_ms), updated)


def update_session(state: Session, command: UpdateSession, now_ms: int) -> Transition | None:
    """Return the transition that changes labels, metadata and instants in one version. Return None if nothing changes.

    Raises:
        ValidationFailed: the session belongs to the first edition or would have too many labels, or an instant is not
            possible.
        InvalidTransition: the status of the session does not allow the change of an instant.
    """
    if not state.is_second_edition:
        path = "labels" if command.labels else "starts_at"
        text = "this session belongs to the first edition, which has neither labels nor instants of start and end"
        raise ValidationFailed.at_path(path, text)
    labels = merge_patch(state.labels, command.labels)
    if len(labels) > MAX_LABELS:
        raise ValidationFailed.at_path("labels", f"the session would have more than {MAX_LABELS} labels")
    metadata = state.metadata if command.metadata is None else _patched_metadata(state, command.metadata)
    moved = change_start_and_end(state, command, now_ms)
    if labels == state.labels and metadata is state.metadata and moved is state:
        return None
    updated = replace(with_next_version(moved, now_ms), labels=labels, metadata=metadata)
    return Transition(make_session_event(EventType.SESSION_UPDATED, updated, now_ms), updated)


def _patched_metadata(state: Session, patch: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata after the merge patch, the same object as before if nothing changes.

    Raises: ValidationFailed if the metadata would be too large.
    """
    metadata = merge_patch(state.metadata, patch)
    if is_identical_json(metadata, state.metadata):
        return state.metadata
    # `wire` limits the size of one patch. This check applies the same limit to the sum of all patches.
    if len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_METADATA_BYTES:
        raise ValidationFailed.at_path(
            "metadata", f"all metadata together would exceed {MAX_METADATA_BYTES} bytes of JSON"
        )
    return metadata
