"""Every command in every status and mode, and the order in which refusals are checked."""

from pathlib import Path

import pytest

from synckairos.clock import engine
from synckairos.clock.commands import Command, Delete, Start, Switch, UpdateMetadata, VersionPrecondition
from synckairos.clock.model import TURN_MODES, Session, Status
from synckairos.clock.status_table import INDIVIDUAL_STATUS_TABLE, STATUS_TABLE, NextStatuses
from synckairos.errors import SessionNotFound
from tests.unit.clock.script import T0, Played, command, open_session, play, spec
from tests.unit.clock.status_page import status_page

REACHED_BY = {
    "pending": "",
    "running": "0 start",
    "paused": "0 start; 1 pause",
    "at zero": "0 start; 60 time",
    "expired": "0 start; 60 time",
    "completed": "0 start; 1 complete",
    "cancelled": "0 start; 1 cancel",
}

REFUSED = "!"
UNCHANGED = "="
OTHER_REFUSAL = "~"

# A second, independent copy of the status table: the status that each command leads to in each status. `!` is a
# refusal by the status, `~` is a refusal for another reason, and `=` is an accepted command without effect.
OUTCOMES = """
            pending    running    paused     at zero    expired    completed  cancelled
start       running    !          !          !          !          !          !
switch      !          running    !          running    =          !          !
done:B      !          running    !          !          !          !          !
pause:x     !          paused     paused     paused     !          !          !
resume      !          !          running    !          !          !          !
complete    completed  completed  completed  completed  !          !          !
cancel      cancelled  cancelled  cancelled  cancelled  !          !          !
reopen+5    !          !          !          !          paused     paused     !
amend:0-1   !          !          !          !          ~          ~          ~
adjust+5    pending    running    paused     paused     !          !          !
join:D/x    pending    running    paused     paused     !          !          !
leave:B     pending    running    paused     paused     !          !          !
merge:{"a":1} pending  running    paused     paused     expired    completed  cancelled
delete      cancelled  cancelled  cancelled  cancelled  expired    completed  cancelled
"""


def _outcomes() -> list[tuple[str, str, str]]:
    header, *rows = OUTCOMES.strip("\n").splitlines()
    statuses = header.replace("at zero", "at_zero").split()
    return [
        (text, status.replace("_", " "), outcome)
        for row in rows
        for text, *outcomes in [row.split()]
        for status, outcome in zip(statuses, outcomes, strict=True)
    ]


def _reach(status: str, mode: str) -> Played:
    on_timeout = "pause" if status == "at zero" else "expire"
    return play(spec(mode, "A/x B/y C/x", on_timeout), REACHED_BY[status])


@pytest.mark.parametrize("mode", TURN_MODES)
@pytest.mark.parametrize(("text", "status", "outcome"), _outcomes())
def test_each_command_in_each_status_leads_to_the_status_of_the_table(
    mode: str, text: str, status: str, outcome: str
) -> None:
    session = _reach(status, mode)
    before = session.state
    assert before.status == ("paused" if status == "at zero" else status)
    if status == "at zero" and text == "switch" and mode in ("global", "count_up"):
        outcome = "paused"  # the next participant has the same budget, which is also at zero
    decision = session.do(T0 + 61_000 if status in ("expired", "at zero") else T0 + 2_000, command(text))
    if outcome == REFUSED:
        assert decision.refusal is not None
        assert (decision.refusal.code, decision.refusal.status) == ("INVALID_STATE_TRANSITION", 400)
        assert before.status in decision.refusal.message
        assert session.state is before
    elif outcome == OTHER_REFUSAL:
        assert decision.refusal is not None
        assert decision.refusal.code == "VALIDATION_ERROR"
        assert session.state is before
    elif outcome == UNCHANGED:
        assert decision.refusal is None
        assert session.state is before
    else:
        assert decision.refusal is None
        assert session.state.status == outcome
        assert session.state.version == before.version + 1
        assert session.state.status in STATUS_TABLE[before.status][type(command(text))]


@pytest.mark.parametrize("status", REACHED_BY)
def test_final_session_has_no_running_clock(status: str) -> None:
    state = _reach(status, "per_participant").state
    if not state.status.is_final:
        return
    assert state.anchor_ms is None
    assert state.active_position is None
    assert state.completed_at_ms == state.updated_at_ms
    assert play(spec("per_participant"), "0 start; 60 time; 99 time").state.version == 3


def _paused() -> Session:
    return play(spec("per_participant"), "0 start; 1 pause").state


@pytest.mark.parametrize(
    ("state", "refused", "precondition", "code"),
    [
        (_reach("completed", "global").state, Start(), VersionPrecondition(version=1), "INVALID_STATE_TRANSITION"),
        (
            _reach("completed", "global").state,
            Start(),
            VersionPrecondition(etags=((1, "e"),)),
            "INVALID_STATE_TRANSITION",
        ),
        (_paused(), Start(), VersionPrecondition(version=1), "CONFLICT"),
        (_paused(), Start(), VersionPrecondition(etags=((1, "e"),)), "PRECONDITION_FAILED"),
        (_paused(), Start(), VersionPrecondition(etags=((3, "other"),)), "PRECONDITION_FAILED"),
        (_paused(), Start(), VersionPrecondition(version=3), "INVALID_STATE_TRANSITION"),
        (_paused(), Start(), VersionPrecondition(version=3, etags=((3, "e"),)), "INVALID_STATE_TRANSITION"),
        (_paused(), Start(), VersionPrecondition(version=1, etags=((1, "e"),)), "PRECONDITION_FAILED"),
        (_paused(), Start(), VersionPrecondition(etags=((1, "e"), (3, "e"))), "INVALID_STATE_TRANSITION"),
        (_paused(), Start(), VersionPrecondition(etags=((1, "e"), (3, "f"))), "PRECONDITION_FAILED"),
        (_reach("running", "global").state, Switch("?"), VersionPrecondition(version=1), "CONFLICT"),
        (_reach("running", "global").state, Switch("?"), VersionPrecondition(version=2), "PARTICIPANT_NOT_FOUND"),
        (_reach("completed", "global").state, UpdateMetadata({"a": 1}), VersionPrecondition(version=1), "CONFLICT"),
    ],
)
def test_refusals_are_checked_in_order(
    state: Session, refused: Command, precondition: VersionPrecondition, code: str
) -> None:
    decision = engine.apply(state, refused, T0 + 2_000, precondition)
    assert decision.refusal is not None
    assert decision.refusal.code == code
    assert decision.all_transitions == ()


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        ("pending", "switch", "Session is not running (it is pending)"),
        ("paused", "switch", "Session is not running (it is paused); resume it first"),
        ("expired", "switch@B", "Session is not running (it is expired)"),
        ("running", "start", "Session cannot be started: the session is running"),
        ("pending", "pause", "Session cannot be paused: the session is pending"),
        ("paused", "pause", "Session cannot be paused: the session is already paused for the reason 'manual'"),
        ("running", "resume", "Session cannot be resumed: the session is running"),
        ("completed", "cancel", "Session cannot be cancelled: the session is completed"),
    ],
)
def test_refusal_by_status_has_the_text_of_v2(status: str, text: str, message: str) -> None:
    refusal = engine.apply(_reach(status, "per_participant").state, command(text), T0 + 2_000).refusal
    assert refusal is not None
    assert refusal.message == message


def test_version_conflict_names_both_versions() -> None:
    refusal = engine.apply(_paused(), command("resume"), T0 + 2_000, VersionPrecondition(version=7)).refusal
    assert refusal is not None
    assert refusal.details == {"expected_version": 7, "actual_version": 3}


def test_overdue_transition_makes_an_expected_version_stale() -> None:
    running = play(spec("per_participant", on_timeout="advance"), "0 start").state
    decision = engine.apply(running, command("switch"), T0 + 60_000, VersionPrecondition(version=2))
    assert [link.event.type for link in decision.overdue] == ["participant_expired"]
    assert decision.refusal is not None
    assert decision.refusal.code == "CONFLICT"


@pytest.mark.parametrize("text", ["start", "switch", "merge:{}", "complete", "delete"])
def test_command_to_a_deleted_session_is_refused_as_not_found(text: str) -> None:
    gone = play(spec("per_participant"), "0 start; 1 delete").state
    assert gone.deleted
    decision = engine.apply(gone, command(text), T0 + 2_000)
    assert isinstance(decision.refusal, SessionNotFound)
    assert decision.all_transitions == ()


@pytest.mark.parametrize(
    ("script", "lines", "used"),
    [
        ("0 start; 5 delete", ["0 started A", "5 deleted"], 5_000),
        ("0 start; 5 complete; 9 delete", ["0 started A", "5 completed A", "9 deleted"], 5_000),
        ("3 delete", ["3 deleted"], 0),
        ("0 start; 61 delete", ["0 started A", "60 expired A", "61 deleted"], 60_000),
    ],
)
def test_delete_makes_a_tombstone_as_the_last_version(script: str, lines: list[str], used: int) -> None:
    session = play(spec("per_participant"), script)
    assert session.lines == lines
    assert session.state.deleted
    assert session.state.status.is_final
    assert session.state.used_ms == used
    assert engine.apply(session.state, command("time"), T0 + 10**9) == engine.CommandDecision()


def test_instant_before_the_last_transition_counts_as_that_transition() -> None:
    session = play(spec("per_participant"), "0 start; 20 switch; 10 switch; 5 pause; 30 resume; 31 switch")
    assert session.face == "running *A 40 B 60 C 59"
    assert [t.event.at_ms - T0 for t in session.transitions] == [0, 20_000, 20_000, 20_000, 30_000, 31_000]


def test_status_table_has_every_status() -> None:
    assert set(STATUS_TABLE) == set(Status)


def test_status_page_is_equal_to_the_status_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "status.md"
    assert page.read_text() == status_page(), f"stale: python -m tests.unit.clock.status_page > {page}"


def test_created_session_is_pending_at_version_1() -> None:
    state = open_session(spec("global"))
    assert (state.status, state.version, state.anchor_ms) == ("pending", 1, None)


@pytest.mark.parametrize("table", [STATUS_TABLE, INDIVIDUAL_STATUS_TABLE], ids=["turns", "individual"])
def test_deletion_cancels_a_session_that_has_not_ended(table: dict[Status, NextStatuses]) -> None:
    for status, commands in table.items():
        assert commands[Delete] == {status if status.is_final else Status.CANCELLED}
