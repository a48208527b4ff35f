"""Expansion of a creation that names a preset: the members of the preset, replaced by those of the request."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from synckairos.errors import ValidationFailed
from synckairos.presets.catalogue import Preset, load_presets, unknown_preset_text


def expand_preset(body: dict[str, Any], make_id: Callable[[], str] = lambda: str(uuid4())) -> dict[str, Any]:
    """Return the creation without `preset` for the body of a request with `preset`.

    A member of the request replaces the member of the preset, and null removes it. `participants` of a preset with
    fixed roles and `metadata` are merged. The metadata names the preset. A participant without an id gets one from
    `make_id`.

    Raises: ValidationFailed if there is no such preset, or if the request has more participants than the preset has
    roles.
    """
    name = body["preset"]
    if not isinstance(name, str):
        raise ValidationFailed.at_path("preset", "should be the name of a preset")
    preset = load_presets().get(name)
    if preset is None:
        raise ValidationFailed.at_path("preset", unknown_preset_text(name))
    expanded: dict[str, Any] = {**preset.session, "metadata": {"preset": name, **preset.session.get("metadata", {})}}
    for member, value in body.items():
        if member == "metadata" and isinstance(value, dict):
            expanded["metadata"] = {**expanded["metadata"], **value}
        elif value is None:
            expanded.pop(member, None)
        elif member != "preset":
            expanded[member] = value
    roles = preset.session.get("participants", [])
    given = body.get("participants", ...)
    if given is ... or (preset.has_fixed_roles and isinstance(given, list)):
        _assign_roles(expanded, preset, roles, [] if given is ... else given, make_id)
        if "plan" not in body:
            _name_participants(expanded, roles)
    elif isinstance(given, list):
        expanded["participants"] = [
            {"participant_id": make_id(), **each} if isinstance(each, dict) else each for each in given
        ]
    return expanded


def _assign_roles(
    expanded: dict[str, Any], preset: Preset, roles: list[dict[str, Any]], given: list[Any], make_id: Callable[[], str]
) -> None:
    """Set the participants: each role with the members that the request gives at the same position."""
    if len(given) > len(roles):
        raise ValidationFailed.at_path(
            "participants", f"the preset {preset.name} has {len(roles)} roles; leave out the others or the preset"
        )
    participants: list[Any] = []
    for at, role in enumerate(roles):
        changes = given[at] if at < len(given) else {}
        if not isinstance(changes, dict):
            participants.append(changes)  # the model reports it
            continue
        merged = {**role, "participant_id": make_id(), **changes}
        participants.append({member: value for member, value in merged.items() if value is not None})
    if participants:
        expanded["participants"] = participants


def _name_participants(expanded: dict[str, Any], roles: list[dict[str, Any]]) -> None:
    """Replace the names of roles in the plan by the ids of the participants that have these roles."""
    if "plan" not in expanded:
        return
    ids = {
        role["participant_id"]: participant.get("participant_id")
        for role, participant in zip(roles, expanded.get("participants", []), strict=True)
        if isinstance(participant, dict)
    }
    expanded["plan"] = [
        {**item, "participant_id": ids[item["participant_id"]]} if item.get("participant_id") in ids else item
        for item in expanded["plan"]
    ]
