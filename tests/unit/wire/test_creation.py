"""What a creation may say: every fault at its place, all at once; v2's documented names are understood."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from synckairos.clock import creation
from synckairos.clock.clock_systems import Byoyomi, Fischer, Stage, Stages
from synckairos.clock.commands import Create
from synckairos.clock.model import OnTimeout
from synckairos.errors import ValidationFailed
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.request_bodies import parse_body
from synckairos.wire.response_models import SessionView
from synckairos.wire.session_json import render_session
from synckairos.wire.validation_faults import MAX_FAULTS

P = [str(UUID(int=at + 1)) for at in range(4)]
G = [str(UUID(int=100 + at)) for at in range(3)]
MIN = 60_000


def people(count: int = 2, **fields: Any) -> list[dict[str, Any]]:
    return [{"participant_id": P[at], "total_time_ms": 10 * MIN} | fields for at in range(count)]


def chess(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"sync_mode": "per_participant", "participants": people()} | fields
    return {name: value for name, value in body.items() if value is not ...}


def spec(body: Any) -> Create:
    return parse_body(CreateSession, body).to_create()


def faults(body: Any) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as refused:
        parse_body(CreateSession, body)
    assert refused.value.message == "Request validation failed"
    return {fault["path"]: fault["message"] for fault in refused.value.details}


# -- single fields ----------------------------------------------------------------------------------------------------


def strictly_wrong() -> Iterator[Any]:
    integers = ("total_time_ms", "time_per_cycle_ms", "increment_ms", "max_time_ms")
    for name in integers:
        wrong: tuple[Any, ...] = (None, True, 1.0, 5000.0, "5000", [], {}, -1, 86_400_001, 2**53, 2**70)
        for value in wrong:
            yield pytest.param({name: value}, name, id=f"{name}={value!r}")
    for name in ("total_time_ms", "time_per_cycle_ms", "max_time_ms"):
        yield pytest.param({name: 999}, name, id=f"{name}=999")
    for name in ("session_id", "active_participant_id"):
        for value in (None, 1, "", "nope", P[0] + "\n", P[0].replace("-", ""), "{" + P[0] + "}", [P[0]]):
            yield pytest.param({name: value}, name, id=f"{name}={value!r}")
    yield pytest.param({"increment_ms": 60_001}, "increment_ms", id="increment")
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


@pytest.mark.parametrize(("fields", "path"), list(strictly_wrong()))
def test_each_wrong_field_is_a_fault_at_its_place(fields: dict[str, Any], path: str) -> None:
    assert path in faults(chess(**fields))


@pytest.mark.parametrize("body", [[], None, 1, "x", True])
def test_a_body_is_an_object(body: Any) -> None:
    assert faults(body) == {"": "should be an object"}


def test_all_faults_are_told_at_once() -> None:
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


def test_ids_of_any_version_are_taken_and_lowered() -> None:
    one, other = "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
    body = chess(session_id=other, participants=[people(1)[0] | {"participant_id": each} for each in (one, other)])
    parsed = parse_body(CreateSession, body)
    assert parsed.session_id == other.lower()
    assert [each.participant_id for each in parsed.to_create().participants] == [one, other.lower()]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_metadata_has_bounds() -> None:
    assert spec(chess(metadata=nested(32))).metadata == nested(32)
    assert "metadata" in faults(chess(metadata=nested(33)))
    assert len(spec(chess(metadata={"a": "x" * (32 * 1024 - 8)})).metadata["a"]) == 32 * 1024 - 8
    assert "metadata" in faults(chess(metadata={"a": "x" * (32 * 1024 - 7)}))
    assert "metadata.a.1" in faults(chess(metadata={"a": [0, "\0"]}))
    assert "metadata.a" in faults(chess(metadata={"a": 2**53}))


def test_a_body_can_be_no_abyss_outside_metadata_either() -> None:
    assert any("nested" in told for told in faults(chess(action_on_timeout={"type": "x", "y": nested(80)})).values())


def test_many_faults_are_cut_short() -> None:
    found = faults(chess(**{f"x{at}": 1 for at in range(5_000)}))
    assert len(found) == MAX_FAULTS + 1
    assert found[""] == "more faults follow; this list has the first 200"
    people = faults(chess(participants=[{"participant_id": at} for at in range(1_000)]))
    assert len(people) == MAX_FAULTS + 1
    assert people["participants.0.participant_id"] == "should be a valid string"


def test_a_list_is_looked_at_no_further_than_it_may_reach() -> None:
    assert faults(chess(participants=[{}] * 1_001))["participants"] == "should have at most 1000 items"
    assert list(faults(chess(warnings_ms=[*range(1_000, 1_017)]))) == ["warnings_ms"]
    assert list(faults(chess(warnings_ms=[1_000, 2_000, 1_000]))) == ["warnings_ms.2"]


# -- what fits together -----------------------------------------------------------------------------------------------


def unfit() -> Iterator[Any]:
    def case(name: str, body: dict[str, Any], *paths: str) -> Any:
        return pytest.param(body, set(paths), id=name)

    nobody: list[dict[str, Any]] = []
    bare = [{"participant_id": each} for each in P[:2]]
    for mode in ("per_participant", "per_cycle", "per_group", "count_up"):
        yield case(
            f"nobody in {mode}", {"sync_mode": mode, "participants": nobody, "time_per_cycle_ms": MIN}, "participants"
        )
    yield case(
        "too many",
        {
            "sync_mode": "global",
            "total_time_ms": MIN,
            "participants": [{"participant_id": str(uuid4())} for _ in range(1_001)],
        },
        "participants",
    )
    yield case("no budget", chess(participants=bare), "participants.0.total_time_ms", "participants.1.total_time_ms")
    yield case("half a budget", chess(participants=[people(1)[0], bare[1]]), "participants.1.total_time_ms")
    yield case(
        "0 ms",
        chess(participants=people(total_time_ms=0)),
        "participants.0.total_time_ms",
        "participants.1.total_time_ms",
    )
    yield case("cycle without time", {"sync_mode": "per_cycle", "participants": bare}, "time_per_cycle_ms")
    yield case("global without time", {"sync_mode": "global"}, "total_time_ms")
    yield case(
        "no groups",
        {"sync_mode": "per_group", "participants": people()},
        "participants.0.group_id",
        "participants.1.group_id",
    )
    yield case(
        "group without time",
        {
            "sync_mode": "per_group",
            "participants": [p | {"group_id": G[0]} for p in bare],
            "groups": [{"group_id": G[0]}],
        },
        "groups.0.total_time_ms",
    )
    yield case(
        "group of members without time",
        {"sync_mode": "per_group", "participants": [p | {"group_id": G[0]} for p in bare]},
        "participants.0.total_time_ms",
        "participants.1.total_time_ms",
    )
    yield case(
        "group twice",
        {
            "sync_mode": "per_group",
            "participants": people(group_id=G[0]),
            "groups": [{"group_id": G[0]}, {"group_id": G[0].upper()}],
        },
        "groups.1.group_id",
    )
    yield case(
        "member of two",
        {
            "sync_mode": "per_group",
            "groups": [{"group_id": each, "total_time_ms": MIN, "members": [P[0]]} for each in G[:2]],
        },
        "groups.1.members.0",
    )
    yield case(
        "member nobody knows",
        {
            "sync_mode": "per_group",
            "participants": people(group_id=G[0]),
            "groups": [{"group_id": G[0], "members": [P[3]]}],
        },
        "groups.0.members.0",
    )
    yield case(
        "member elsewhere",
        {
            "sync_mode": "per_group",
            "participants": people(group_id=G[1]),
            "groups": [{"group_id": G[0], "total_time_ms": MIN, "members": [P[0]]}],
        },
        "participants.0.group_id",
    )
    yield case("active stranger", chess(active_participant_id=P[3]), "active_participant_id")
    yield case("active nowhere", chess(active_group_id=G[0]), "active_group_id")
    yield case(
        "active elsewhere",
        {
            "sync_mode": "per_group",
            "participants": [people(1)[0] | {"group_id": G[0]}, people(2)[1] | {"group_id": G[1]}],
            "active_group_id": G[1],
            "active_participant_id": P[0],
        },
        "active_group_id",
    )
    yield case(
        "index twice",
        chess(participants=[people(2)[0] | {"participant_index": 1}, people(2)[1]]),
        "participants.1.participant_index",
    )
    yield case("cycles elsewhere", chess(max_cycles=3), "max_cycles")
    yield case("soft close of one's own", chess(extend_on_switch_ms=5_000), "extend_on_switch_ms")
    uncapped = {"sync_mode": "count_up", "participants": bare, "extend_on_switch_ms": 5_000}
    yield case("soft close of nothing", uncapped, "extend_on_switch_ms")
    yield case("two clocks", chess(clock={"sudden_death": {}, "fischer": {"increment_ms": 1}}), "clock")
    yield case("no clock", chess(clock={}), "clock")
    yield case("unknown clock", chess(clock={"sundial": {}}), "clock.sundial")
    yield case(
        "clock and another increment", chess(clock={"fischer": {"increment_ms": 1}}, increment_ms=2), "increment_ms"
    )
    yield case("increment and no fischer", chess(clock={"sudden_death": {}}, increment_ms=2), "increment_ms")
    yield case(
        "clock without budgets",
        {"sync_mode": "global", "total_time_ms": MIN, "clock": {"bronstein": {"delay_ms": 1}}},
        "clock",
    )
    yield case("hourglass for three", chess(participants=people(3), clock={"hourglass": {}}), "participants")
    yield case(
        "hourglass of teams",
        {"sync_mode": "per_group", "participants": people(group_id=G[0]), "clock": {"hourglass": {}}},
        "clock",
    )
    yield case(
        "hourglass for one",
        chess(participants=[people()[0] | {"clock": {"hourglass": {}}}, people()[1]]),
        "participants.0.clock",
    )
    yield case(
        "own clock in a team",
        {"sync_mode": "per_group", "participants": people(group_id=G[0], clock={"sudden_death": {}})},
        "participants.0.clock",
        "participants.1.clock",
    )
    yield case("endless first stage", chess(clock={"stages": [{"add_ms": 1}, {"moves": 1}]}), "clock.stages.0.moves")


@pytest.mark.parametrize(("body", "paths"), list(unfit()))
def test_what_does_not_fit_together_is_told(body: dict[str, Any], paths: set[str]) -> None:
    assert set(faults(body)) == paths


def fit() -> Iterator[Any]:
    bare = [{"participant_id": each} for each in P[:2]]
    yield pytest.param(chess(total_time_ms=MIN, participants=bare), id="everyone the same")
    yield pytest.param(chess(total_time_ms=20 * MIN), id="v2 says both")
    yield pytest.param({"sync_mode": "global", "total_time_ms": MIN}, id="nobody in global")
    yield pytest.param({"sync_mode": "global", "time_per_cycle_ms": MIN, "participants": []}, id="v2's exam")
    yield pytest.param({"sync_mode": "count_up", "participants": bare}, id="stopwatch")
    shared = {"participants": bare, "on_timeout": "advance"}
    yield pytest.param(shared | {"sync_mode": "global", "total_time_ms": MIN}, id="nothing to advance to")
    yield pytest.param(shared | {"sync_mode": "count_up", "max_time_ms": MIN}, id="no more to count")
    yield pytest.param(
        {"sync_mode": "per_cycle", "time_per_cycle_ms": MIN, "participants": [p | {"total_time_ms": 0} for p in bare]},
        id="v2's poker",
    )
    yield pytest.param({"sync_mode": "per_cycle", "total_time_ms": MIN, "participants": bare}, id="v2's cycle")
    yield pytest.param(chess(clock={"fischer": {"increment_ms": 2}}, increment_ms=2), id="the same said twice")
    yield pytest.param(chess(participants=bare, clock={"per_move": {"move_ms": 5_000}}), id="moves alone")
    yield pytest.param(
        chess(participants=people(total_time_ms=0), clock={"byoyomi": {"periods": 5, "period_ms": 30_000}}),
        id="no main time",
    )
    yield pytest.param(chess(clock={"hourglass": {}}), id="hourglass")
    yield pytest.param({"sync_mode": "per_group", "participants": people(group_id=G[0])}, id="members' sum")
    yield pytest.param(
        {
            "sync_mode": "per_group",
            "groups": [{"group_id": G[0], "total_time_ms": MIN}],
            "participants": [p | {"group_id": G[0]} for p in bare],
        },
        id="groups",
    )
    yield pytest.param(chess(participants=people(display_name="x" * 200)), id="long names")


@pytest.mark.parametrize("body", list(fit()))
def test_what_fits_together_becomes_a_session(body: dict[str, Any]) -> None:
    state = creation.create(spec(body), str(uuid4()), "e", 1_700_000_000_000).state
    assert TypeAdapter(SessionView).validate_json(render_session(state)).status == "pending"


def test_clocks_are_understood() -> None:
    assert spec(chess(clock={"fischer": {"increment_ms": 2_000, "cap_ms": MIN}})).clock == Fischer(2_000, MIN)
    assert spec(chess(clock={"byoyomi": {"periods": 5, "period_ms": 30_000}})).clock == Byoyomi(5, 30_000)
    stages = {"stages": [{"moves": 40, "add_ms": 1}, {"increment_ms": 2}]}
    assert spec(chess(clock=stages)).clock == Stages((Stage(40, 1, 0), Stage(None, 0, 2)))


# -- v2's documented names --------------------------------------------------------------------------------------------


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
def test_action_on_timeout_is_understood(mode: str, kind: str, meant: OnTimeout | None) -> None:
    body = {"sync_mode": mode, "participants": people(), "time_per_cycle_ms": MIN}
    action = {"type": kind, "winner": "opponent", "penalty": {"points": -10}}
    assert spec(body | {"action_on_timeout": action, "auto_advance": True}).on_timeout is meant
    assert spec(body | {"action_on_timeout": action, "on_timeout": "pause"}).on_timeout is OnTimeout.PAUSE


def test_members_make_participants_and_a_group_begins() -> None:
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


def test_members_tell_participants_their_group() -> None:
    body = {
        "sync_mode": "per_group",
        "participants": [people(2)[0] | {"participant_index": 7}, people(2)[1] | {"participant_index": 3}],
        "groups": [{"group_id": G[0], "members": P[:2]}],
        "active_group_id": G[0],
    }
    made = spec(body)
    assert {each.group_id for each in made.participants} == {G[0]}
    assert made.active_participant_id == P[1], "the first in index order begins"


# -- whatever comes ---------------------------------------------------------------------------------------------------

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
def test_any_json_makes_a_session_or_is_refused(body: dict[str, Any]) -> None:
    try:
        parsed = parse_body(CreateSession, body)
    except ValidationFailed:
        return
    state = creation.create(parsed.to_create(), str(uuid4()), "e", 1_700_000_000_000).state
    SessionView.model_validate_json(render_session(state))
    orjson.dumps(parsed.model_dump(exclude_unset=True))


def test_a_total_alone_is_what_a_cycle_has() -> None:
    bare = [{"participant_id": each} for each in P[:2]]
    made = spec({"sync_mode": "per_cycle", "total_time_ms": MIN, "participants": bare})
    state = creation.create(made, P[0], "e", 0).state
    assert state.rules.time_per_cycle_ms == state.remaining_ms == MIN
    both = {"sync_mode": "per_cycle", "total_time_ms": 9 * MIN, "time_per_cycle_ms": MIN, "participants": bare}
    assert spec(both).time_per_cycle_ms == MIN
