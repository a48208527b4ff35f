"""Merge patches (RFC 7396) between two versions of a session's document.

A patch applies to the keyed form of a document. In the keyed form, participants, groups and plan items are objects by
their ids instead of arrays, and a JSON member that can be null can be absent instead. A merge patch cannot set a JSON
member to null, so a null inside `metadata` requires the full state. Clients apply a patch as `clock.merge_patch` does.
"""

import operator
from collections.abc import Callable
from typing import Any

import orjson

from synckairos.wire.document_split import DocumentParts, changed_parts

Json = dict[str, Any]

_LISTS = (("participants", "participant_id"), ("groups", "group_id"))

_NULLABLE = (
    *("active_participant_id", "active_group_id", "time_remaining_ms", "time_per_cycle_ms", "max_cycles"),
    *("deadline_at", "cycle_started_at", "session_started_at", "session_completed_at"),
)
"""JSON members that every document has and that can be null. A patch removes the members that become null."""


def parse_keyed_document(document: bytes) -> Json:
    """Parse a document into its keyed form, to which patches apply."""
    return key_lists_by_id(orjson.loads(document))


def key_lists_by_id(state: Json) -> Json:
    """Return the keyed form of a document that is already parsed.

    `state` is not changed. The result contains the same value objects as `state`, except the arrays.
    """
    keyed = state | {name: {each[key]: each for each in state[name]} for name, key in _LISTS}
    if "plan" in state:
        keyed["plan"] = {each["item_id"]: each for each in state["plan"]}
    return keyed


def lists_from_keyed(state: Json) -> Json:
    """Return the document as JSON values from its keyed form. `state` is not changed.

    Participants, groups and plan items are arrays again, in their order. Members that a patch removed are null again. A
    server of an earlier release sends a plan as an array, which stays an array.
    """
    participants = sorted(state["participants"].values(), key=operator.itemgetter("participant_index"))
    whole = [each if "display_name" in each else {**each, "display_name": None} for each in participants]
    arrays = {"participants": whole, "groups": list(state["groups"].values())}
    if isinstance(plan := state.get("plan"), dict):
        arrays["plan"] = sorted(plan.values(), key=operator.itemgetter("index"))
    return dict.fromkeys(_NULLABLE) | state | arrays


def render_document_patch(before: DocumentParts, after: DocumentParts) -> bytes | None:
    """Render the merge patch that leads from `before` to `after`, as JSON.

    Return None if the change needs the full state.

    Only the participants, groups and plan items that differ are parsed.
    """
    old, new = changed_parts(before, after)
    found = make_keyed_patch(parse_keyed_document(old.join()), parse_keyed_document(new.join()))
    return None if found is None else orjson.dumps(found)


def make_keyed_patch(before: Json, after: Json) -> Json | None:
    """Return the merge patch that leads from one keyed form to another. Return None if the change needs the full state.

    Neither argument is changed.
    """
    if _holds_null(before["metadata"]) or _holds_null(after["metadata"]):
        return None
    # In metadata 1, 1.0 and true are different values, as their bytes are. All other members keep their JSON types.
    metadata = _diff(before["metadata"], after["metadata"], _same_bytes)
    patch = _diff(before | {"metadata": None}, after | {"metadata": None}, operator.eq)
    return patch | {"metadata": metadata} if metadata else patch


def _diff(before: Json, after: Json, same: Callable[[Any, Any], bool]) -> Json:
    patch: Json = {}
    for name, value in after.items():
        old = before.get(name)
        if same(old, value):
            continue
        patch[name] = _diff(old, value, same) if isinstance(old, dict) and isinstance(value, dict) else value
    patch |= dict.fromkeys((name for name, old in before.items() if name not in after and old is not None), None)
    return patch


def _same_bytes(one: Any, other: Any) -> bool:
    return orjson.dumps(one) == orjson.dumps(other)


def _holds_null(value: Any) -> bool:
    match value:
        case None:
            return True
        case dict():
            return any(map(_holds_null, value.values()))
        case list():
            return any(map(_holds_null, value))
        case _:
            return False
