"""Pauses: the set of pause reasons, reasons that end by themselves, and the pause at zero."""

import pytest

from synckairos.clock.commands import Expire, Pause, Resume
from synckairos.clock.upcoming_event import next_upcoming_event
from tests.unit.clock.script import T0, play, spec


@pytest.mark.parametrize(
    ("script", "lines", "face"),
    [
        ("10 pause; 99 resume", ["10 paused A", "99 resumed A"], "running *A 50 B 60"),
        (
            "10 pause; 99 resume; 109 switch",
            ["10 paused A", "99 resumed A", "109 cycle_switched A"],
            "running A 40 *B 60",
        ),
        ("10 pause; 11 pause", ["10 paused A", "11 !INVALID_STATE_TRANSITION"], "paused *A 50 B 60"),
        ("10 pause; 11 pause:tea", ["10 paused A", "11 paused A"], "paused *A 50 B 60"),
        (
            "10 pause; 11 pause:tea; 12 resume:tea; 13 resume:manual",
            ["10 paused A", "11 paused A", "12 resumed A", "13 resumed A"],
            "running *A 50 B 60",
        ),
        ("10 pause; 11 pause:tea; 12 resume", ["10 paused A", "11 paused A", "12 resumed A"], "running *A 50 B 60"),
        ("10 pause; 11 resume:tea", ["10 paused A", "11 !INVALID_STATE_TRANSITION"], "paused *A 50 B 60"),
        (
            "10 pause:tea; 11 resume:tea; 12 pause:tea",
            ["10 paused A", "11 resumed A", "12 paused A"],
            "paused *A 49 B 60",
        ),
        ("10 pause:timeout", ["10 !VALIDATION_ERROR"], "running *A 60 B 60"),
        # A reason with max_ms ends by itself, at its own instant.
        ("10 pause:tea+5; 14.999 time", ["10 paused A"], "paused *A 50 B 60"),
        ("10 pause:tea+5; 15 time", ["10 paused A", "15 resumed A"], "running *A 50 B 60"),
        ("10 pause:tea+5; 90 time", ["10 paused A", "15 resumed A", "65 expired A"], "expired A 0x B 60"),
        ("10 pause:tea+5; 12 resume", ["10 paused A", "12 resumed A"], "running *A 50 B 60"),
        # The clock runs only if there is no pause reason.
        ("10 pause; 11 pause:tea+5; 90 time", ["10 paused A", "11 paused A", "16 resumed A"], "paused *A 50 B 60"),
        (
            "10 pause:tea+5; 11 pause:nap+20; 40 time",
            ["10 paused A", "11 paused A", "15 resumed A", "31 resumed A"],
            "running *A 50 B 60",
        ),
        (
            "10 pause:tea+5; 11 pause:nap+4; 40 time",
            ["10 paused A", "11 paused A", "15 resumed A"],
            "running *A 50 B 60",
        ),
    ],
)
def test_pause_reasons_are_added_and_ended_one_by_one(script: str, lines: list[str], face: str) -> None:
    session = play(spec("per_participant", "A B"), f"0 start; {script}")
    assert session.lines[1:] == lines
    assert session.face == face


def test_paused_time_is_not_used_time() -> None:
    session = play(spec("per_participant", "A B"), "0 start; 10 pause; 500 resume; 505 switch; 506 pause; 900 complete")
    assert session.used == "A 15 B 1"
    assert session.state.used_ms == 16_000


def test_pause_reasons_keep_their_instants() -> None:
    state = play(spec("per_participant"), "0 start; 10 pause:tea+5; 11 pause:nap").state
    assert [(p.reason, p.paused_at_ms - T0, p.max_ms) for p in state.pauses] == [
        ("tea", 10_000, 5_000),
        ("nap", 11_000, None),
    ]
    assert state.anchor_ms is None
    due = next_upcoming_event(state)
    assert due is not None
    assert (due.kind, due.at_ms) == ("pause_end", T0 + 15_000)


@pytest.mark.parametrize(
    ("script", "lines", "face"),
    [
        ("70 resume", ["60 paused A", "70 !INVALID_STATE_TRANSITION"], "paused *A 0x B 60"),
        ("70 resume:timeout", ["60 paused A", "70 !INVALID_STATE_TRANSITION"], "paused *A 0x B 60"),
        ("70 adjust+5:A", ["60 paused A", "70 time_adjusted A"], "paused *A 5 B 60"),
        (
            "70 adjust+5:B; 71 resume",
            ["60 paused A", "70 time_adjusted B", "71 !INVALID_STATE_TRANSITION"],
            "paused *A 0x B 65",
        ),
        ("70 adjust+5; 71 resume", ["60 paused A", "70 time_adjusted", "71 resumed A"], "running *A 5 B 65"),
        (
            "70 adjust+5:A; 71 resume:timeout",
            ["60 paused A", "70 time_adjusted A", "71 resumed A"],
            "running *A 5 B 60",
        ),
        ("70 time; 71 switch", ["60 paused A", "71 cycle_switched A"], "running A 0x *B 60"),
        (
            "70 time; 71 switch; 81 switch",
            ["60 paused A", "71 cycle_switched A", "81 cycle_switched B"],
            "running A 0x *B 50",
        ),
        ("70 time; 71 switch>A", ["60 paused A", "71 !PARTICIPANT_EXPIRED"], "paused *A 0x B 60"),
        ("70 time; 71 switch@B", ["60 paused A", "71 !NOT_ACTIVE_PARTICIPANT"], "paused *A 0x B 60"),
        ("70 time; 71 switch@A", ["60 paused A", "71 cycle_switched A"], "running A 0x *B 60"),
        # Two pause reasons. The end of the second reason keeps the pause at zero. A switch keeps the second reason.
        ("70 pause; 71 resume:manual", ["60 paused A", "70 paused A", "71 resumed A"], "paused *A 0x B 60"),
        ("70 pause; 71 resume", ["60 paused A", "70 paused A", "71 !INVALID_STATE_TRANSITION"], "paused *A 0x B 60"),
        (
            "70 pause; 71 resume:timeout",
            ["60 paused A", "70 paused A", "71 !INVALID_STATE_TRANSITION"],
            "paused *A 0x B 60",
        ),
        ("70 pause:tea+5; 99 time", ["60 paused A", "70 paused A", "75 resumed A"], "paused *A 0x B 60"),
        ("70 pause; 71 switch", ["60 paused A", "70 paused A", "71 cycle_switched A"], "paused A 0x *B 60"),
        (
            "70 pause; 71 switch; 72 switch",
            ["60 paused A", "70 paused A", "71 cycle_switched A", "72 !INVALID_STATE_TRANSITION"],
            "paused A 0x *B 60",
        ),
        (
            "70 pause; 71 switch; 72 resume",
            ["60 paused A", "70 paused A", "71 cycle_switched A", "72 resumed B"],
            "running A 0x *B 60",
        ),
        # Added time can run out again.
        (
            "70 adjust+5:A; 71 resume; 80 time",
            ["60 paused A", "70 time_adjusted A", "71 resumed A", "76 paused A"],
            "paused *A 0x B 60",
        ),
        (
            "70 adjust+5:A; 71 switch; 72 switch",
            ["60 paused A", "70 time_adjusted A", "71 cycle_switched A", "72 cycle_switched B"],
            "running *A 5 B 59",
        ),
        # No participant has time left.
        (
            "70 time; 71 switch; 131 time; 132 switch",
            ["60 paused A", "71 cycle_switched A", "131 paused B", "132 !INVALID_STATE_TRANSITION"],
            "paused A 0x *B 0x",
        ),
        ("70 complete", ["60 paused A", "70 completed A"], "completed A 0x B 60"),
    ],
)
def test_command_in_the_pause_at_zero_gives_the_expected_events_and_clocks(
    script: str, lines: list[str], face: str
) -> None:
    session = play(spec("per_participant", "A B", "pause"), f"0 start; {script}")
    assert session.lines[1:] == lines
    assert session.face == face
    assert (session.state.anchor_ms is not None) == (session.state.status == "running")


@pytest.mark.parametrize(
    ("mode", "people"), [("global", "A"), ("per_cycle", "A"), ("count_up", "A"), ("per_group", "A/x")]
)
def test_resume_at_zero_is_accepted_in_every_mode_after_time_was_added(mode: str, people: str) -> None:
    session = play(spec(mode, people, "pause"), "0 start; 60 time; 61 resume; 62 adjust+5; 63 resume; 99 time")
    assert session.lines[1:] == [
        "60 paused A",
        "61 !INVALID_STATE_TRANSITION",
        "62 time_adjusted",
        "63 resumed A",
        "68 paused A",
    ]


def test_one_added_millisecond_returns_an_expired_owner_to_the_rotation() -> None:
    for mode, people, added in (("per_participant", "A B", "A"), ("per_group", "A/x B/y", "/x")):
        session = play(spec(mode, people, "pause"), f"0 start; 60 time; 61 adjust+0.001:{added}; 62 switch; 63 switch")
        assert session.lines[-1] == "63 cycle_switched B"
        session.do(T0 + 63_001, Expire())
        assert session.lines[-1] == "63.001 paused A"


@pytest.mark.parametrize("text", ["complete", "cancel", "delete"])
def test_final_session_has_no_pause_reasons(text: str) -> None:
    session = play(spec("per_participant"), f"0 start; 10 pause:tea+5; 11 pause; 12 {text}; 99 time")
    assert session.state.pauses == ()
    assert session.lines[-1].startswith("12 ")


def test_pause_keeps_its_actor_and_the_pause_at_zero_has_none() -> None:
    session = play(spec("global", on_timeout="pause"), "0 start")
    session.do(T0 + 1_000, Pause("tea", actor="ann"))
    session.do(T0 + 2_000, Pause("rain", actor="bob"))
    assert [(pause.reason, pause.paused_by) for pause in session.state.pauses] == [("tea", "ann"), ("rain", "bob")]
    session.do(T0 + 3_000, Resume())
    session.do(T0 + 90_000, Expire())
    assert [(pause.reason, pause.paused_by) for pause in session.state.pauses] == [("timeout", None)]
    assert session.state.pauses_taken == {}  # pauses are counted only if there is a pause budget


def test_pause_beyond_the_actors_budget_is_refused() -> None:
    session = play(spec("per_participant", "A B", pause_budget=2), "0 start")
    for second, by, refused in (
        (1, "ann", False),
        (2, "ann", False),
        (3, "ann", True),  # the third pause
        (4, "bob", False),  # each actor has two pauses
        (5, "ann", True),
    ):
        decision = session.do(T0 + second * 1_000, Pause(f"reason {second}", 100, by))
        assert (decision.refusal is not None) == refused
        if decision.refusal is not None:
            assert decision.refusal.status == 400
            assert decision.refusal.message == "Can't pause: ann has taken 2 of 2 pauses; the session is running"
    assert session.state.pauses_taken == {"ann": 2, "bob": 1}


@pytest.mark.parametrize(
    ("reason", "taken_by", "left"),
    [
        (None, None, []),
        (None, "ann", ["tea"]),
        (None, "bob", ["rain", "call"]),
        ("rain", "ann", ["tea", "call"]),
        ("tea", "bob", ["rain", "call"]),
        ("tea", "ann", None),
        (None, "eve", None),
    ],
)
@pytest.mark.parametrize("mode", ["per_participant", "individual"])
def test_resume_of_a_participant_ends_only_pauses_that_it_took(
    mode: str, reason: str | None, taken_by: str | None, left: list[str] | None
) -> None:
    session = play(spec(mode, "A"), "0 start")
    names = ("A",) if mode == "individual" else None
    for at, (pause, by) in enumerate((("rain", "ann"), ("tea", "bob"), ("call", "ann")), start=1):
        session.do(T0 + at * 1_000, Pause(pause, taken_by=by, participant_ids=names))
    decision = session.do(T0 + 9_000, Resume(reason, taken_by, participant_ids=names))
    assert (decision.refusal is None) == (left is not None)
    if decision.refusal is not None:
        assert decision.refusal.code == "FORBIDDEN"
    clock = session.state.participants[0].individual
    pauses = session.state.pauses if clock is None else clock.pauses
    assert [pause.reason for pause in pauses] == (["rain", "tea", "call"] if left is None else left)


def test_refused_pause_and_pause_at_zero_use_no_pause_budget() -> None:
    session = play(spec("global", on_timeout="pause", pause_budget=1), "0 start; 60 time")
    assert session.state.pauses_taken == {}
    session.do(T0 + 61_000, Pause("tea"))
    session.do(T0 + 62_000, Pause("tea"))  # the session is already paused for this reason
    assert session.state.pauses_taken == {"anonymous": 1}
    none = play(spec("global", pause_budget=0), "0 start; 1 pause")
    assert none.lines[1:] == ["1 !INVALID_STATE_TRANSITION"]


def test_switch_in_the_pause_at_zero_ends_that_pause() -> None:
    session = play(spec("per_participant", "A B", "pause"), "0 start; 61 time; 62 switch")
    assert (session.state.status, session.state.pauses) == ("running", ())
