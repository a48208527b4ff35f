"""The data files of presets: each is valid, has a view style, and gives a session without warnings."""

import re
from itertools import count
from uuid import UUID

import orjson
import pytest

from synckairos.clock.creation import create
from synckairos.errors import ValidationFailed
from synckairos.presets.catalogue import FOLDER, load_presets, suggest_names
from synckairos.presets.expand import expand_preset
from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.input_warnings import request_warnings
from synckairos.wire.preset_models import PresetFile
from tests.unit.presets.test_rules import RULES

ADA, BEN = "0198c0de-0000-7000-8000-00000000000a", "0198c0de-0000-7000-8000-00000000000b"


@pytest.mark.parametrize("name", load_presets())
def test_data_file_is_valid(name: str) -> None:
    assert re.fullmatch(r"[a-z]+/[a-z0-9-]+", name)
    PresetFile.model_validate(orjson.loads((FOLDER / f"{name}.json").read_bytes()))
    preset = load_presets()[name]
    is_pair = len(preset.session.get("participants", [])) == 2
    assert preset.view["layout"] != "versus" or is_pair
    assert (preset.view["layout"] == "agenda") == ("plan" in preset.session)


@pytest.mark.parametrize("name", load_presets())
def test_preset_alone_makes_a_session_without_warnings(name: str) -> None:
    value = expand_preset({"preset": name})
    body = parse_body(CreateSession, value)
    assert request_warnings(body, value) == []
    session = create(body.to_create(), ADA, "epoch", 0).state
    assert session.metadata == {"preset": name}
    ids = [UUID(each.participant_id) for each in session.participants]
    assert len(set(ids)) == len(ids)


def test_there_are_about_forty_presets_and_each_is_played() -> None:
    assert len(load_presets()) >= 40
    assert RULES.keys() == load_presets().keys()


def test_member_of_the_request_replaces_the_member_of_the_preset() -> None:
    changes = {"total_time_ms": 300_000, "lag_compensation": None, "clock": {"fischer": {"increment_ms": 3_000}}}
    value = expand_preset({"preset": "chess/lichess-blitz", **changes})
    assert "preset" not in value
    assert "lag_compensation" not in value
    assert (value["total_time_ms"], value["clock"]) == (300_000, {"fischer": {"increment_ms": 3_000}})
    assert value["free_first_turn"] == {"limit_ms": 25_000}
    assert load_presets()["chess/lichess-blitz"].session["total_time_ms"] == 180_000


def test_metadata_is_merged_and_names_the_preset() -> None:
    value = expand_preset({"preset": "meeting/stand-up", "metadata": {"team": "north"}})
    assert value["metadata"] == {"preset": "meeting/stand-up", "team": "north"}
    assert expand_preset({"preset": "meeting/stand-up", "metadata": None}).get("metadata") is None


def test_participants_take_the_fixed_roles_in_order() -> None:
    numbers = count(1)
    given = [{"participant_id": ADA, "display_name": "Ada"}, {"display_name": None}]
    value = expand_preset({"preset": "debate/wsdc", "participants": given}, lambda: f"new-{next(numbers)}")
    assert value["participants"][:3] == [
        {"participant_id": ADA, "display_name": "Ada"},
        {"participant_id": "new-2"},
        {"participant_id": "new-3", "display_name": "Second proposition"},
    ]
    speakers = [item["participant_id"] for item in value["plan"]]
    assert [speakers[0], speakers[1], speakers[-1], speakers[-2]] == [ADA, "new-2", ADA, "new-2"]


def test_participants_replace_the_examples_of_a_preset_without_fixed_roles() -> None:
    given = [{"participant_id": each} for each in (ADA, BEN)]
    assert expand_preset({"preset": "exam/extra-time", "participants": given})["participants"] == given
    named = expand_preset({"preset": "exam/extra-time", "participants": [{"display_name": "Ada"}]}, lambda: BEN)
    assert named["participants"] == [{"participant_id": BEN, "display_name": "Ada"}]


def test_plan_of_the_request_replaces_the_plan_of_the_preset() -> None:
    plan = [{"item_id": "only", "time_ms": 60_000}]
    value = expand_preset({"preset": "meeting/agenda", "plan": plan})
    assert value["plan"] == plan
    assert parse_body(CreateSession, value).to_create().plan[0].item_id == "only"


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ({"preset": "chess/fide_blitz"}, "preset", "did you mean chess/fide-blitz or "),
        ({"preset": "pomodoro"}, "preset", "did you mean focus/pomodoro?"),
        ({"preset": "zzzz"}, "preset", "`GET /v1/presets` and `synckairos presets list` list all"),
        ({"preset": ["chess/fide-blitz"]}, "preset", "should be the name of a preset"),
        ({"preset": None}, "preset", "should be the name of a preset"),
        ({"preset": "chess/fide-blitz", "participants": [{}, {}, {}]}, "participants", "has 2 roles"),
    ],
)
def test_wrong_preset_is_refused_with_a_remedy(body: dict[str, object], path: str, message: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        expand_preset(body)
    assert [each["path"] for each in refused.value.details] == [path]
    assert message in refused.value.details[0]["message"]


@pytest.mark.parametrize("given", ["x", [1], [{"participant_id": 5}], [{"participant_id": ADA, "unknown": 1}]])
def test_malformed_participants_are_reported_by_the_model(given: object) -> None:
    value = expand_preset({"preset": "chess/fide-blitz", "participants": given})
    with pytest.raises(ValidationFailed) as refused:
        parse_body(CreateSession, value)
    assert all(each["path"].startswith("participants") for each in refused.value.details)


def test_long_unknown_name_is_cheap() -> None:
    assert suggest_names("x" * 100_000) == []
