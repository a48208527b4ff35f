"""Request bodies of creations: each fault is listed with its path, and names of v2 are accepted."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.clock import creation
from synckairos.clock.clock_systems import Fischer
from synckairos.clock.model import OnTimeout
from synckairos.clock.overtime_period_systems import Byoyomi
from synckairos.clock.stages import Stage, Stages
from synckairos.errors import ValidationFailed
from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.field_types import MAX_DURATION_MS
from synckairos.wire.session_json import render_session
from synckairos.wire.session_view import SessionView
from synckairos.wire.validation_faults import MAX_FAULTS
from tests.unit.wire.creations import MIN, G, P, chess, faults, make_participants, spec

# -- single members ---------------------------------------------------------------------------------------------------


def invalid_members() -> Iterator[Any]:
    integers = ("total_time_ms", "time_per_cycle_ms", "increment_ms", "max_time_ms")
    for name in integers:
        wrong: tuple[Any, ...] = (None, True, 1.0, 5000.0, "5000", [], {}, -1, MAX_DURATION_MS + 1, 2**53, 2**70)
        for value in wrong:
            yield pytest.param({name: value}, name, id=f"{name}={value!r}")
    for name in ("total_time_ms", "time_per_cycle_ms", "max_time_ms"):
        yield pytest.param({name: 999}, name, id=f"{name}=999")
    yield pytest.param({"session_id": None}, "session_id", id="session_id=None")
    for name in ("session_id", "active_participant_id"):
        for value in (1, "", "nope", P[0] + "\n", P[0].replace("-", ""), "{" + P[0] + "}", [P[0]]):
            yield pytest.param({name: value}, name, id=f"{name}={value!r}")
    yield pytest.param({"increment_ms": MAX_DURATION_MS + 1}, "increment_ms", id="increment")
    yield pytest.param({"sync_mode": "PER_PARTICIPANT"}, "sync_mode", id="mode")
    yield pytest.param({"on_timeout": "explode"}, "on_timeout", id="timeout")
    yield pytest.param({"metadata": []}, "metadata", id="metadata")
    yield pytest.param({"metadata": None}, "metadata", id="no metadata")
    yield pytest.param({"participants": None}, "participants", id="no participants")
    yield pytest.param({"warnings_ms": [0]}, "warnings_ms.0", id="warning at zero")
    yield pytest.param({"warnings_ms": [1, 2, 1]}, "warnings_ms.2", id="warning twice")
    yield pytest.param({"warnings_ms": list(range(1, 18))}, "warnings_ms", id="too many warnings")
    yield pytest.param({"auto_advance": "yes"}, "auto_advance", id="auto_advance")
    yield pytest.param({"colour": "red"}, "colour", id="unknown field")
    yield pytest.param({"labels": {"Round": "1"}}, "labels.Round.[key]", id="label in capitals")
    yield pytest.param({"labels": {"round": ""}}, "labels.round", id="label without a value")
    yield pytest.param({"labels": {str(at): "x" for at in range(17)}}, "labels", id="too many labels")


@pytest.mark.parametrize("factor", [0, 0.99, 5.01, 1.005, -1, True, "2", None, [1.5]])
def test_a_time_factor_that_is_not_in_hundredths_from_1_to_5_is_refused(factor: object) -> None:
    people = [{"participant_id": P[0], "total_time_ms": 60_000, "time_factor": factor}]
    found = faults({"sync_mode": "individual", "participants": people})
    assert list(found) == ["participants.0.time_factor"]


def test_a_time_factor_outside_of_individual_is_refused() -> None:
    people = [{"participant_id": P[0], "total_time_ms": 60_000, "time_factor": 1.5}]
    assert list(faults(chess(participants=people))) == ["participants.0.time_factor"]


@pytest.mark.parametrize(("fields", "path"), list(invalid_members()))
def test_an_invalid_member_is_refused_with_its_path(fields: dict[str, Any], path: str) -> None:
    assert path in faults(chess(**fields))


@pytest.mark.parametrize("body", [[], None, 1, "x", True])
def test_a_body_that_is_not_an_object_is_refused(body: Any) -> None:
    assert faults(body) == {"": "should be an object"}


def test_one_refusal_lists_all_faults() -> None:
    found = faults(
        {
            "session_id": "nope",
            "sync_mode": "per_participant",
            "participants": [
                {"participant_id": P[0], "participant_index": 0, "total_time_ms": 10},
                {"participant_id": P[0].upper(), "participant_index": 0, "total_time_ms": "10"},
                {"participant_index": 2},
            ],
            "active_participant_id": P[3],
            "increment_ms": -1,
            "on_timeout": "advance",
            "max_cycles": 3,
            "clock": {"byoyomi": {"periods": 0, "period_ms": 1.5}},
            "metadata": {"big": 2**60},
            "extra": 1,
        }
    )
    assert set(found) == {
        "session_id",
        "participants.0.total_time_ms",
        "participants.1.total_time_ms",
        "participants.1.participant_id",
        "participants.1.participant_index",
        "participants.2.participant_id",
        "participants.2.total_time_ms",
        "active_participant_id",
        "increment_ms",
        "max_cycles",
        "clock.byoyomi.periods",
        "clock.byoyomi.period_ms",
        "metadata.big",
        "extra",
    }
    assert found["participants.1.participant_id"] == "this participant is named twice"
    assert found["extra"] == "unknown field"


def test_ids_of_any_uuid_version_are_accepted_in_lower_case() -> None:
    one, other = "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
    body = chess(
        session_id=other, participants=[make_participants(1)[0] | {"participant_id": each} for each in (one, other)]
    )
    parsed = parse_body(CreateSession, body)
    assert parsed.session_id == other.lower()
    assert [each.participant_id for each in parsed.to_create().participants] == [one, other.lower()]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_metadata_beyond_its_limits_is_refused() -> None:
    assert spec(chess(metadata=nested(32))).metadata == nested(32)
    assert "metadata" in faults(chess(metadata=nested(33)))
    assert len(spec(chess(metadata={"a": "x" * (32 * 1024 - 8)})).metadata["a"]) == 32 * 1024 - 8
    assert "metadata" in faults(chess(metadata={"a": "x" * (32 * 1024 - 7)}))
    assert "metadata.a.1" in faults(chess(metadata={"a": [0, "\0"]}))
    assert "metadata.a" in faults(chess(metadata={"a": 2**53}))


def test_deep_nesting_outside_metadata_is_refused() -> None:
    assert any(
        "nested" in message for message in faults(chess(action_on_timeout={"type": "x", "y": nested(80)})).values()
    )


def test_a_refusal_lists_at_most_the_maximum_number_of_faults() -> None:
    found = faults(chess(**{f"x{at}": 1 for at in range(5_000)}))
    assert len(found) == MAX_FAULTS + 1
    assert found[""] == "more faults follow; this list has the first 200"
    many = faults(chess(participants=[{"participant_id": at} for at in range(1_000)]))
    assert len(many) == MAX_FAULTS + 1
    assert many["participants.0.participant_id"] == "should be a valid string"


def test_items_beyond_the_maximum_length_are_not_validated() -> None:
    assert faults(chess(participants=[{}] * 1_001))["participants"] == "should have at most 1000 items"
    assert list(faults(chess(warnings_ms=[*range(1_000, 1_017)]))) == ["warnings_ms"]
    assert list(faults(chess(warnings_ms=[1_000, 2_000, 1_000]))) == ["warnings_ms.2"]


def test_a_clock_member_becomes_a_clock_system() -> None:
    assert spec(chess(clock={"fischer": {"increment_ms": 2_000, "cap_ms": MIN}})).clock == Fischer(2_000, MIN)
    assert spec(chess(clock={"byoyomi": {"periods": 5, "period_ms": 30_000}})).clock == Byoyomi(5, 30_000)
    stages = {"stages": [{"moves": 40, "add_ms": 1}, {"increment_ms": 2}]}
    assert spec(chess(clock=stages)).clock == Stages((Stage(40, 1, 0), Stage(None, 0, 2)))


# -- names of v2 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "kind", "meant"),
    [
        ("per_participant", "game_over", OnTimeout.EXPIRE),
        ("global", "end_session", OnTimeout.EXPIRE),
        ("per_cycle", "skip_cycle", OnTimeout.ADVANCE),
        ("per_cycle", "skip_question", OnTimeout.ADVANCE),
        ("global", "skip_cycle", None),
        ("per_cycle", "auto_fold", None),
        ("per_cycle", "notify", None),
    ],
)
def test_action_on_timeout_of_v2_becomes_on_timeout(mode: str, kind: str, meant: OnTimeout | None) -> None:
    body = {"sync_mode": mode, "participants": make_participants(), "time_per_cycle_ms": MIN}
    action = {"type": kind, "winner": "opponent", "penalty": {"points": -10}}
    assert spec(body | {"action_on_timeout": action, "auto_advance": True}).on_timeout is meant
    assert spec(body | {"action_on_timeout": action, "on_timeout": "pause"}).on_timeout is OnTimeout.PAUSE


def test_group_members_without_participants_become_participants() -> None:
    body = {
        "sync_mode": "per_group",
        "groups": [
            {"group_id": G[0], "total_time_ms": 5 * MIN, "members": P[:2]},
            {"group_id": G[1], "total_time_ms": 5 * MIN, "members": P[2:]},
        ],
        "active_group_id": G[1],
    }
    made = spec(body)
    assert [(each.participant_id, each.group_id) for each in made.participants] == [
        (P[0], G[0]), (P[1], G[0]), (P[2], G[1]), (P[3], G[1]),
    ]  # fmt: skip
    assert made.active_participant_id == P[2]


def test_group_members_give_participants_their_group() -> None:
    body = {
        "sync_mode": "per_group",
        "participants": [
            make_participants(2)[0] | {"participant_index": 7},
            make_participants(2)[1] | {"participant_index": 3},
        ],
        "groups": [{"group_id": G[0], "members": P[:2]}],
        "active_group_id": G[0],
    }
    made = spec(body)
    assert {each.group_id for each in made.participants} == {G[0]}
    assert made.active_participant_id == P[1], "the first in index order begins"


# -- random bodies ----------------------------------------------------------------------------------------------------

NUMBERS: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, 999, 1_000, MIN, 86_400_000, 86_400_001, -1, 1.0, True, None, "1"]
)
IDS: st.SearchStrategy[Any] = st.sampled_from([*P, P[0].upper(), "nope", 3, None])
GROUP_IDS = st.sampled_from([*G, "red", None])
CLOCKS: st.SearchStrategy[Any] = st.sampled_from(
    [
        {}, {"sudden_death": {}}, {"fischer": {"increment_ms": 2}}, {"hourglass": {}}, {"delay": {"delay_ms": 5}},
        {"byoyomi": {"periods": 1, "period_ms": 1_000}}, {"per_move": {"move_ms": 1_000}}, {"stages": [{"moves": 1}]},
        {"canadian": {"moves": 1, "period_ms": 1_000}}, {"x": 1}, None, [],
    ]
)  # fmt: skip


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


PARTICIPANTS = some(
    participant_id=IDS, participant_index=NUMBERS, total_time_ms=NUMBERS, group_id=GROUP_IDS, clock=CLOCKS
)
GROUPS = some(group_id=GROUP_IDS, total_time_ms=NUMBERS, members=st.lists(IDS, max_size=3))
MODES = st.sampled_from(["per_participant", "per_cycle", "per_group", "global", "count_up", "x", 1])
BODIES = some(
    sync_mode=MODES,
    participants=st.lists(PARTICIPANTS | st.just(1), max_size=3),
    groups=st.lists(GROUPS | st.just("x"), max_size=2),
    total_time_ms=NUMBERS,
    time_per_cycle_ms=NUMBERS,
    increment_ms=NUMBERS,
    max_time_ms=NUMBERS,
    max_cycles=NUMBERS,
    clock=CLOCKS,
    on_timeout=st.sampled_from(["expire", "advance", "pause", "overtime", "x"]),
    warnings_ms=st.lists(NUMBERS, max_size=3),
    active_participant_id=IDS,
    active_group_id=GROUP_IDS,
    action_on_timeout=st.just({"type": "skip_cycle"}) | st.just(1),
    metadata=st.dictionaries(st.text(max_size=3), NUMBERS, max_size=2),
)


@given(BODIES)
def test_any_json_creates_a_session_or_is_refused(body: dict[str, Any]) -> None:
    try:
        parsed = parse_body(CreateSession, body)
    except ValidationFailed:
        return
    state = creation.create(parsed.to_create(), str(uuid4()), "e", 1_700_000_000_000).state
    SessionView.model_validate_json(render_session(state))
    orjson.dumps(parsed.model_dump(exclude_unset=True))


def test_total_time_alone_is_the_budget_of_each_cycle() -> None:
    bare = [{"participant_id": each} for each in P[:2]]
    made = spec({"sync_mode": "per_cycle", "total_time_ms": MIN, "participants": bare})
    state = creation.create(made, P[0], "e", 0).state
    assert state.rules.time_per_cycle_ms == state.remaining_ms == MIN
    both = {"sync_mode": "per_cycle", "total_time_ms": 9 * MIN, "time_per_cycle_ms": MIN, "participants": bare}
    assert spec(both).time_per_cycle_ms == MIN
