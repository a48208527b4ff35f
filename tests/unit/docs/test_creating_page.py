"""The page about creations lists every member, and its example is accepted."""

import re

import orjson
import pytest
from pydantic import BaseModel

from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import CreateSession, Group, Participant
from synckairos.wire.plan_body import NewPlanItem
from tests.unit.docs.pages import code_blocks, code_words, read_page, table_after
from tests.unit.wire.test_input_warnings import WITHOUT_EFFECT

PAGE = read_page("creating.md")


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("## Members", CreateSession),
        ("## Participants", Participant),
        ("## Groups", Group),
        ("## Plan items", NewPlanItem),
    ],
)
def test_page_lists_each_member_and_which_are_required(heading: str, model: type[BaseModel]) -> None:
    rows = {code_words(row["member"])[0]: row for row in table_after(PAGE, heading)}
    assert list(rows) == list(model.model_fields)
    for name, field in model.model_fields.items():
        # What only some modes require isn't required by the model.
        assert not field.is_required() or rows[name]["if left out"] == "required"


def test_example_of_a_plan_is_accepted() -> None:
    (example,) = code_blocks(read_page("plans.md"), "json")
    assert [item.item_id for item in parse_body(CreateSession, orjson.loads(example)).to_create().plan] == [
        "opening",
        "questions",
    ]


def test_page_lists_each_member_that_can_be_without_effect() -> None:
    rows = {code_words(row["member"])[0] for row in table_after(PAGE, "## Members without effect")}
    paths = {re.sub(r"\.\d+", "[]", path) for _, each in WITHOUT_EFFECT for path in each}
    assert rows | {"active_participant_id", "active_group_id"} == {
        re.sub(r"(action_on_timeout).*", r"\1", p) for p in paths
    }


def test_example_is_accepted() -> None:
    (example,) = code_blocks(PAGE, "json")
    assert parse_body(CreateSession, orjson.loads(example)).to_create().increment_ms == 2_000
