"""The examples of the guides: the timeline and the end of each file under docs/guides/examples."""

from pathlib import Path

import orjson
import pytest

from synckairos.wire.simulation_run import run_simulation

EXAMPLES = Path(__file__).parents[3] / "docs" / "guides" / "examples"

TIMELINES = {
    "auction-rounds": (
        (
            "0 session_started 1|10000 cycle_switched 1|25000 cycle_switched 2|55000 cycle_expired 1"
            "|85000 cycle_expired 2|115000 cycle_expired 3|145000 session_expired 1"
        ),
        "expired",
    ),
    "chess-10-3": (
        (
            "0 session_started 1|12000 cycle_switched 1|20000 cycle_switched 2|601000 time_warning 1"
            "|611000 session_expired 1"
        ),
        "expired",
    ),
    "correspondence-weekend": (
        (
            "0 session_started 1|43200000 session_paused 1|216000000 session_resumed 1|280800000 cycle_switched 1"
            "|453600000 time_warning 2|540000000 session_expired 2"
        ),
        "expired",
    ),
    "countdown": (
        (
            "0 session_started|540000 time_warning|590000 time_warning|597000 time_warning|598000 time_warning"
            "|599000 time_warning|600000 session_expired"
        ),
        "expired",
    ),
    "exam": (
        "0 session_started|1800000 time_adjusted|3600000 time_warning|3840000 time_warning|3900000 session_expired",
        "expired",
    ),
    "exam-extra-time": (
        (
            "0 session_started|600000 participant_started c|1200000 participant_paused|1500000 participant_resumed"
            "|1800000 time_adjusted|3000000 participant_finished a|4500000 time_warning c"
            "|4800000 participant_expired c|4875000 time_warning b|5175000 session_completed b"
        ),
        "completed",
    ),
    "interval-training": (
        (
            "0 session_started 1|40000 cycle_expired 1|80000 cycle_expired 2|100000 session_paused 1"
            "|130000 session_resumed 1|150000 cycle_expired 1|190000 cycle_expired 2|230000 cycle_expired 1"
            "|270000 cycle_expired 2|310000 cycle_expired 1|350000 session_expired 2"
        ),
        "expired",
    ),
    "meeting-agenda": (
        (
            "0 session_started 1|240000 time_warning 1|240000 cycle_switched 1|780000 time_warning 2"
            "|840000 overtime_started 2|900000 plan_updated|960000 cycle_switched 2|1020000 time_warning 3"
            "|1080000 overtime_started 3|1080000 cycle_switched 3|1120000 session_completed"
        ),
        "completed",
    ),
    "quiz-with-host": (
        (
            "0 session_started 1|12000 cycle_switched 1|20000 session_resumed 1|45000 time_warning 1"
            "|50000 cycle_expired 1|60000 session_resumed 1|75000 session_completed 1"
        ),
        "completed",
    ),
    "debate-bp": (
        (
            "0 session_started|840000 time_warning|900000 overtime_started|900000 cycle_switched"
            "|910000 session_resumed 1|970000 time_warning 1|1270000 time_warning 1|1330000 time_warning 1"
            "|1330000 overtime_started 1|1340000 cycle_switched 1|1350000 session_resumed 2|1410000 time_warning 2"
            "|1710000 time_warning 2|1770000 time_warning 2|1770000 overtime_started 2|1785000 time_warning 2"
            "|1800000 cycle_switched 2|1801000 session_completed 3"
        ),
        "completed",
    ),
    "poker-turns": (
        (
            "0 session_started 3|5000 cycle_switched 3|35000 cycle_expired 4|50000 cycle_switched 1"
            "|60000 participant_removed 2|90000 cycle_expired 3|120000 cycle_expired 4|150000 cycle_expired 1"
            "|180000 session_expired 3"
        ),
        "expired",
    ),
    "auction-soft-close": (
        (
            "0 session_started 1|300000 cycle_switched 1|590000 cycle_switched 2|625000 cycle_switched 3"
            "|649000 cycle_switched 2|650000 session_expired 3"
        ),
        "expired",
    ),
    "quiz-30s-a-question": (
        (
            "0 session_started 1|25000 time_warning 1|30000 cycle_expired 1|42000 cycle_switched 2|67000 time_warning 3"
            "|72000 cycle_expired 3|97000 time_warning 4|102000 cycle_expired 4|127000 time_warning 5"
            "|132000 session_expired 5"
        ),
        "expired",
    ),
    "speedrun": (
        "0 session_started 1|1500000 session_paused 1|1560000 session_resumed 1|3000000 session_completed 1",
        "completed",
    ),
    "team-budgets": (
        (
            "0 session_started 1|100000 cycle_switched 1|220000 cycle_switched 2|420000 group_expired 3"
            "|600000 session_expired 4"
        ),
        "expired",
    ),
}
"""By example: the rows after the creation, and the final status. A row is the instant in ms, the event or refusal, and
the last digit of its participant."""


def test_every_example_has_a_timeline_here_and_a_link_in_the_readme() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.json")} == TIMELINES.keys()
    text = (EXAMPLES / "README.md").read_text()
    assert all(f"({name}.json)" in text for name in TIMELINES)


@pytest.mark.parametrize("name", TIMELINES)
def test_example_has_the_expected_timeline_and_end(name: str) -> None:
    result = run_simulation(orjson.loads((EXAMPLES / f"{name}.json").read_bytes()))
    rows = [
        f"{row['at_ms']} {row.get('event_type', row.get('refused'))} {row.get('participant_id', '')[-1:]}".rstrip()
        for row in result["timeline"]
    ]
    timeline, status = TIMELINES[name]
    assert "|".join(rows[1:]) == timeline
    assert result["final"]["status"] == status


@pytest.mark.parametrize("name", TIMELINES)
def test_every_participant_of_an_example_has_a_display_name(name: str) -> None:
    participants = orjson.loads((EXAMPLES / f"{name}.json").read_bytes())["session"].get("participants", [])
    assert all(each.get("display_name") for each in participants)
