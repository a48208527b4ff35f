"""Pydantic models of a plan in requests, and the rules that concern several of its JSON members."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from synckairos.clock.plan_item import PlanItem
from synckairos.wire.field_types import (
    MAX_DURATION_MS,
    MAX_WARNINGS,
    SECOND_MS,
    Omittable,
    ShortText,
    StrictModel,
    UntilFaultLimit,
    Uuid,
    check_printable,
)
from synckairos.wire.validation_faults import Fault, Path, fault

MAX_PLAN_ITEMS = 1_000
"""Maximum number of items of a plan."""

MainTimeMs = Annotated[
    int,
    Field(ge=0, le=MAX_DURATION_MS),
    WithJsonSchema(
        {
            "type": "integer",
            "anyOf": [{"const": 0}, {"minimum": SECOND_MS, "maximum": MAX_DURATION_MS}],
            "description": "Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget",
        }
    ),
]
WarningTimes = Annotated[
    list[Annotated[int, Field(ge=-MAX_DURATION_MS, le=MAX_DURATION_MS)]],
    Field(max_length=MAX_WARNINGS, json_schema_extra={"uniqueItems": True}),
]
ItemId = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(check_printable)]


class NewPlanItem(StrictModel):
    """An item of a plan. Without an `item_id`, the id is the number of the item in the list, from 1, as text."""

    item_id: Omittable[ItemId] = None
    title: Omittable[ShortText] = None
    time_ms: MainTimeMs
    participant_id: Omittable[Uuid] = None
    warnings_ms: Omittable[WarningTimes] = None

    def to_item(self, number: int) -> PlanItem:
        """Return the item as a value of `clock`. `number` is its number in the list, from 1."""
        warnings_ms = None if self.warnings_ms is None else tuple(sorted(self.warnings_ms, reverse=True))
        item_id = str(number) if self.item_id is None else self.item_id
        return PlanItem(item_id, self.time_ms, self.title, self.participant_id, warnings_ms)


Plan = Annotated[
    list[UntilFaultLimit[NewPlanItem]],
    Field(min_length=1, max_length=MAX_PLAN_ITEMS, description="Items in their order, each with its own time"),
]


def to_plan_items(plan: list[NewPlanItem]) -> tuple[PlanItem, ...]:
    """Return a plan of a request as values of `clock`."""
    return tuple(item.to_item(number) for number, item in enumerate(plan, 1))


def plan_faults(value: Any, path: Path = ("plan",)) -> Iterator[Fault]:
    """Yield the faults in a plan of a request that concern several JSON members: ids and thresholds that occur twice.

    `path` is the path to the plan in the body. Malformed members are skipped, because the models report them.
    """
    seen: set[str] = set()
    for at, item in enumerate(value[:MAX_PLAN_ITEMS] if isinstance(value, list) else ()):
        if not isinstance(item, dict):
            continue
        item_id = item.get("item_id", str(at + 1))
        if isinstance(item_id, str):
            if item_id in seen:
                yield fault((*path, at, "item_id"), "another item has this id")
            seen.add(item_id)
        yield from _warning_faults(item.get("warnings_ms"), (*path, at, "warnings_ms"))


def _warning_faults(value: Any, path: Path) -> Iterator[Fault]:
    thresholds = value[:MAX_WARNINGS] if isinstance(value, list) else []
    for at, each in enumerate(thresholds):
        if type(each) is int and each in thresholds[:at]:
            yield fault((*path, at), "this threshold is named twice")
