"""The worked examples of the clock systems, played by the engine."""

import re
from typing import Any

import orjson
import pytest

from synckairos.clock.clock_systems import CLOCK_SYSTEMS
from synckairos.wire.session_json import session_json
from tests.unit.docs.event_runs import Step, created, produced_by
from tests.unit.docs.pages import Row, code_words, read_page, tables

PAGE = read_page("clock-systems.md")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = {name: tables(text)[0] for name, text in SECTIONS.items() if "| command |" in text}


def clock_of(section: str) -> dict[str, Any]:
    """Return the clock of a section's example: the JSON that stands last before its table."""
    before, _, _ = SECTIONS[section].partition("\n| at |")
    clock: dict[str, Any] = orjson.loads(re.findall(r"`(\{[^`]+\})`", before)[-1])
    return clock


def facts(cell: str) -> dict[str, str | int]:
    """Parse what a cell says of a reading, such as `phase` main, `periods_left` 2."""
    found = (part.split() for part in cell.replace("`", "").split(","))
    return {name: int(value) if value.isdigit() else value for name, value in found}


def shown(participant: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a participant's reading, without the settings of its clock."""
    return {name: value for name, value in participant.get("reading", {}).items() if name != "period_ms"}


@pytest.mark.parametrize("section", EXAMPLES)
def test_example_shows_what_the_engine_makes_of_its_commands(section: str) -> None:
    state = created("per_participant", clock=clock_of(section)).transition.state
    seen: list[Row] = []
    for row in EXAMPLES[section]:
        at_ms = 1000 * int(row["at"].removesuffix(" s"))
        (word,) = code_words(row["command"])
        step: Step = (at_ms, "expire" if word == "time" else word, {})
        state = [*produced_by(state, step)][-1].transition.state
        document = session_json(state)
        a, b = document["participants"]
        seen.append(
            row
            | {"A": f"{a['time_remaining_ms'] / 1000:g}", "B": f"{b['time_remaining_ms'] / 1000:g}"}
            | {"status": document["status"]}
        )
        if "A's `reading`" in row:
            assert shown(a) == facts(row["A's `reading`"]), row
    assert seen == EXAMPLES[section]


def test_every_clock_system_has_an_example() -> None:
    assert [next(iter(clock_of(section))) for section in EXAMPLES] == list(CLOCK_SYSTEMS)


def test_the_list_of_systems_shows_each_example_clock() -> None:
    listed = [code_words(row["`clock`"])[0] for row in tables(PAGE)[0]]
    assert [next(iter(orjson.loads(each))) for each in listed] == list(CLOCK_SYSTEMS)
