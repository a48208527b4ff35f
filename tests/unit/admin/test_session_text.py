"""The text view: clock faces, the size of a screen, and no control characters."""

import pytest

from synckairos.admin.session_text import cut_to_columns, render_session_lines
from synckairos.admin.text_rows import format_clock
from synckairos.clock import creation
from synckairos.clock.commands import Create, NewGroup, NewParticipant, Pause, Resume, Start, Switch
from synckairos.clock.engine import apply
from synckairos.clock.model import OnTimeout, Session, SyncMode
from synckairos.clock.overtime_period_systems import Byoyomi
from synckairos.clock.plan_item import PlanItem
from tests.client_sessions import client_session

T0 = 1_764_000_000_000


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0:00.0"),
        (99, "0:00.0"),
        (86_399_999, "23:59:59"),
        (86_400_000, "1d 00:00:00"),
        (-(400 * 86_400_000 + 3_661_000), "-400d 01:01:01"),
        (19_999, "0:19.9"),
        (20_000, "0:20"),
        (299_999, "4:59"),
        (3_600_000, "1:00:00"),
        (-1_500, "-0:01.5"),
    ],
)
def test_clock_face_is_rounded_down(ms: int, shown: str) -> None:
    assert format_clock(ms) == shown


@pytest.mark.parametrize(
    ("text", "columns", "kept"),
    [("abc", 2, "ab"), ("a\x1b[2Jb\n", 9, "a�[2Jb�"), ("日本", 3, "日"), ("e\u0301f", 1, "e\u0301")],
)
def test_text_is_cut_to_the_columns_and_control_characters_are_replaced(text: str, columns: int, kept: str) -> None:
    assert cut_to_columns(text, columns) == kept


def started(spec: Create) -> Session:
    return apply(creation.create(spec, "s", "e", T0).state, Start(), T0).all_transitions[-1].state


def people(count: int, **more: object) -> tuple[NewParticipant, ...]:
    return tuple(NewParticipant(f"p{at}", total_time_ms=60_000, display_name=f"Player {at}") for at in range(count))


def screen(state: Session, at_ms: int | None, lines: int = 24, columns: int = 80, footer: str = "footer") -> list[str]:
    now_ms = None if at_ms is None else T0 + at_ms
    return render_session_lines(client_session(state), now_ms, columns=columns, lines=lines, footer=footer)


def test_running_clock_is_drawn_for_the_given_instant() -> None:
    state = started(Create(SyncMode.PER_PARTICIPANT, people(2)))
    assert screen(state, 12_345) == [
        "session s",
        "per_participant, running, version 2",
        "",
        "> Player 0                               0:47",
        "  Player 1                               1:00",
        "",
        "used 0:12.3 · footer",
    ]


def test_clock_is_drawn_past_its_zero_only_in_overtime() -> None:
    state = started(Create(SyncMode.PER_PARTICIPANT, people(2)))
    assert screen(state, 99_999)[3].endswith("0:00.0")
    overtime = started(Create(SyncMode.PER_PARTICIPANT, people(2), on_timeout=OnTimeout.OVERTIME))
    assert screen(overtime, 61_500)[3].endswith("-0:01.5")


def test_periods_are_drawn_next_to_the_time() -> None:
    state = started(Create(SyncMode.PER_PARTICIPANT, people(2), clock=Byoyomi(3, 30_000)))
    assert screen(state, 91_000)[3].split() == [">", "Player", "0", "0:29", "2", "periods"]


@pytest.mark.parametrize(
    ("spec", "own"),
    [
        (Create(SyncMode.GLOBAL, people(2), total_time_ms=60_000), ["session", "0:50"]),
        (Create(SyncMode.PER_CYCLE, people(2), time_per_cycle_ms=30_000), ["this", "cycle", "0:20", "cycle", "1"]),
        (Create(SyncMode.COUNT_UP, people(2), max_time_ms=60_000), ["session", "0:10.0", "0:50", "left"]),
        (
            Create(
                SyncMode.PER_GROUP,
                (NewParticipant("a", total_time_ms=1_000, group_id="red"),),
                groups=(NewGroup("red", 60_000),),
            ),
            [">", "red", "0:50"],
        ),
    ],
)
def test_running_clock_of_each_mode_is_drawn(spec: Create, own: list[str]) -> None:
    drawn = screen(started(spec), 10_000)
    assert drawn[3].split() == own
    assert drawn[5].split()[0] == ">"


@pytest.mark.parametrize("lines", range(1, 12))
def test_screen_shows_the_participants_next_to_the_active_participant_of_a_thousand(lines: int) -> None:
    state = started(Create(SyncMode.PER_PARTICIPANT, people(1_000), active_participant_id="p500"))
    drawn = screen(state, 0, lines, columns=20, footer="")
    assert len(drawn) <= lines
    assert all(len(line) <= 20 for line in drawn)
    if lines > 3:
        assert "> Player 500" in drawn
    if lines > 7:
        assert any("above" in line for line in drawn)


def test_time_of_a_running_clock_is_not_drawn_if_the_server_time_is_unknown() -> None:
    state = started(Create(SyncMode.PER_PARTICIPANT, people(2)))
    assert screen(state, None) == [
        "session s",
        "per_participant, running, version 2",
        "",
        "> Player 0                               -:--",
        "  Player 1                               -:--",
        "",
        "used -:-- · footer",
    ]


def test_times_of_a_stopped_clock_are_drawn_without_the_server_time() -> None:
    state = creation.create(Create(SyncMode.PER_PARTICIPANT, people(2)), "s", "e", T0).state
    assert screen(state, None) == screen(state, 5_000)


def test_participants_without_names_are_told_apart_by_the_ends_of_their_ids() -> None:
    ids = [f"0198c0de-0000-7000-8000-00000000000{each}" for each in "ab"]
    state = started(Create(SyncMode.PER_PARTICIPANT, tuple(NewParticipant(each, total_time_ms=60_000) for each in ids)))
    assert [line.split()[0] for line in screen(state, 0)[3:5]] == [">", "…00000000000b"]
    assert "…00000000000a" in screen(state, 0)[3]


def test_pending_session_shows_the_time_until_its_start() -> None:
    spec = Create(SyncMode.GLOBAL, starts_at_ms=T0 + 65_000, ends_at_ms=T0 + 125_000)
    state = creation.create(spec, "s", "e", T0).state
    assert screen(state, 4_000)[1] == "global, pending (starts in 1:01), version 1"
    assert screen(state, 4_000)[3].split() == ["session", "1:00"]
    assert screen(state, 70_000)[1] == "global, pending (starts in 0:00.0), version 1"
    assert screen(state, None)[1] == "global, pending, version 1"
    without_end = creation.create(Create(SyncMode.GLOBAL, ends_at_ms=T0 + 125_000), "s", "e", T0).state
    assert screen(without_end, 0)[3].split() == ["session", "-:--"]


def test_session_with_an_end_is_drawn_during_a_pause() -> None:
    running = started(Create(SyncMode.GLOBAL, ends_at_ms=T0 + 125_000))
    paused = apply(running, Pause(), T0 + 10_000).own[0].state
    assert screen(paused, 65_000)[3].split() == ["session", "1:00"]
    assert screen(paused, 999_000)[3].split() == ["session", "0:00.0"]
    assert screen(paused, None)[3].split() == ["session", "-:--"]


AGENDA = (
    PlanItem("opening", 300_000, "Opening"),
    PlanItem("budget", 600_000, "Budget", "p1"),
    PlanItem("2", 60_000),
)


def test_plan_is_drawn_as_an_agenda_with_planned_and_expected_starts() -> None:
    state = started(Create(SyncMode.PER_CYCLE, people(2), on_timeout=OnTimeout.OVERTIME, plan=AGENDA))
    assert screen(state, 60_000)[3:-2] == [
        "  this item                              4:00  item 1 of 3",
        "",
        "> Opening                                1:00  planned 16:00",
        "  Budget                                10:00  planned 16:05, Player 1",
        "  2                                      1:00  planned 16:15",
    ]
    late = screen(state, 480_000)[3:-2]
    assert late[0] == "  this item                             -3:00  item 1 of 3"
    assert late[3] == "  Budget                                10:00  planned 16:05, expected 16:08, Pl"
    held = apply(state, Switch(hold=True), T0 + 480_000).own[0].state
    assert screen(held, 500_000)[3] == "  next item                             10:00  item 2 of 3, comes next"
    resumed = apply(held, Resume(), T0 + 500_000).own[0].state
    lines = screen(resumed, 501_000)
    assert lines[3] == "  this item                              9:59  item 2 of 3, 3:20 late"
    assert lines[5] == "  Opening                                8:00  done, planned 16:00"
    assert screen(resumed, None)[3] == "  this item                              -:--"


def test_item_without_a_title_that_is_too_long_is_cut_and_harmless() -> None:
    plan = (PlanItem("x", 60_000, "\x1b[2J" + "long " * 30),)
    state = started(Create(SyncMode.PER_CYCLE, people(1), plan=plan))
    assert all(len(line) <= 80 for line in screen(state, 0))
    assert "\x1b" not in "".join(screen(state, 0))


def test_individual_clocks_are_drawn_with_their_own_times_and_statuses() -> None:
    created = creation.create(Create(SyncMode.INDIVIDUAL, people(3)), "s", "e", T0).state
    state = apply(created, Start(("p0", "p1")), T0).own[0].state
    state = apply(state, Pause("tea", participant_ids=("p1",)), T0 + 5_000).own[0].state
    assert screen(state, 30_000)[1:6] == [
        "individual, running, version 3",
        "",
        "> Player 0                               0:30",
        "  Player 1                               0:55  paused (tea)",
        "  Player 2                               1:00  waiting",
    ]
