# Generated from synckairos.wire.plan_json by `make python-client`. Do not edit.
"""The items of a plan as JSON values of the session's document, and back."""

from typing import Any

from synckairos_client.generated.clock.model import Session
from synckairos_client.generated.clock.plan_item import ItemStatus, PlanItem
from synckairos_client.generated.wire.instants import parse_instant_ms, render_instant


def plan_json(state: Session) -> list[dict[str, Any]]:
    """Return the plan of a session as JSON values, in its order."""
    return [plan_item_json(item, index) for index, item in enumerate(state.plan)]


def plan_item_json(item: PlanItem, index: int) -> dict[str, Any]:
    """Return a plan item as a JSON object. `index` is its position in the plan, from 0. Unset members are absent."""
    document: dict[str, Any] = {"item_id": item.item_id, "index": index}
    if item.title is not None:
        document["title"] = item.title
    document["time_ms"] = item.time_ms
    if item.participant_id is not None:
        document["participant_id"] = item.participant_id
    if item.warnings_ms is not None:
        document["warnings_ms"] = item.warnings_ms
    document["status"] = item.status
    document["time_used_ms"] = item.used_ms
    if item.planned_start_at_ms is not None:
        document["planned_start_at"] = render_instant(item.planned_start_at_ms)
    return document


def parse_plan(documents: list[dict[str, Any]]) -> tuple[PlanItem, ...]:
    """Return the plan that the JSON objects of a document describe."""
    return tuple(
        PlanItem(
            d["item_id"],
            d["time_ms"],
            d.get("title"),
            d.get("participant_id"),
            tuple(d["warnings_ms"]) if "warnings_ms" in d else None,
            ItemStatus(d["status"]),
            d["time_used_ms"],
            parse_instant_ms(d["planned_start_at"]) if "planned_start_at" in d else None,
        )
        for d in documents
    )


def parse_item_position(plan: tuple[PlanItem, ...], document: dict[str, Any], member: str) -> int | None:
    """Return the position in `plan` of the item that `member` of a document names, None if the member is absent."""
    item_id = document.get(member)
    return next((at for at, item in enumerate(plan) if item.item_id == item_id), None)
