"""The page of a session lists the members of every part of the document, and which of them may be absent."""

from typing import get_args

import pytest
from pydantic import BaseModel

from synckairos.wire.session_view import (
    GroupView,
    ParticipantView,
    PauseView,
    PlanItemView,
    Reading,
    SessionView,
    TurnView,
)
from tests.unit.docs.pages import code_words, read_page, table_after

PAGE = read_page("session.md")
PARTS: dict[str, type[BaseModel]] = {
    "Session": SessionView,
    "Participant": ParticipantView,
    "Group": GroupView,
    "Plan item": PlanItemView,
    "Pause": PauseView,
    "Turn": TurnView,
    "Reading": Reading,
}


def absence(model: type[BaseModel], name: str) -> str:
    """Return how a member without a value looks: models give a default to what may be left out."""
    field = model.model_fields[name]
    if not field.is_required():
        return "left out"
    return "`null`" if type(None) in get_args(field.annotation) else ""


@pytest.mark.parametrize("part", PARTS)
def test_page_lists_each_member_and_how_it_looks_if_unset(part: str) -> None:
    model = PARTS[part]
    rows = table_after(PAGE, f"## {part}")
    assert [code_words(row["member"])[0] for row in rows] == list(model.model_fields)
    assert [row["if unset"] for row in rows] == [absence(model, name) for name in model.model_fields]
