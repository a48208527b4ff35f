"""The commands `announce` and `screen`: what pages for an audience show."""

import pytest

from synckairos.clock.audience_display import Announcement, AnnouncementTone, ScreenMode
from synckairos.clock.commands import Announce, Command, Screen, Undo
from synckairos.clock.first_edition_compatibility import as_first_edition
from synckairos.frozen_replace import replace
from synckairos.wire.session_json import render_session, session_json
from synckairos.wire.session_parser import parse_session
from tests.unit.clock.script import T0, play, spec

URGENT = Announce("Leave by the north door", AnnouncementTone.URGENT, flashes=True, until_ms=T0 + 60_000)


def test_an_announcement_is_stored_with_its_instant_and_changes_no_clock() -> None:
    session = play(spec("global"), "0 start")
    before = session.state
    session.do(T0 + 1, URGENT)
    shown = Announcement("Leave by the north door", T0 + 1, AnnouncementTone.URGENT, True, T0 + 60_000)
    assert session.lines[-1].startswith("0.001 announcement_updated")
    assert session.state == replace(before, announcement=shown, version=3, updated_at_ms=T0 + 1)


def test_the_same_text_again_is_a_new_announcement_and_null_removes_it_once() -> None:
    session = play(spec("global"), "0 start")
    session.do(T0 + 1, Announce("Break"))
    session.do(T0 + 2, Announce("Break"))
    assert session.state.announcement == Announcement("Break", T0 + 2)
    session.do(T0 + 3, Announce(None))
    assert "announcement" not in session_json(session.state)
    assert session.state.version == 5
    assert session.do(T0 + 4, Announce(None)).all_transitions == ()


@pytest.mark.parametrize("until_ms", [T0 - 1, T0 + 1_000], ids=["before the session", "now"])
def test_an_announcement_that_has_ended_already_is_refused(until_ms: int) -> None:
    session = play(spec("global"), "0 start")
    refusal = session.do(T0 + 1_000, Announce("Break", until_ms=until_ms)).refusal
    assert refusal is not None
    assert refusal.code == "VALIDATION_ERROR"
    assert refusal.details == [{"path": "until", "message": "should be in the future"}]
    assert session.state.announcement is None


@pytest.mark.parametrize("mode", list(ScreenMode))
def test_a_mode_of_the_screens_is_one_version_and_the_same_mode_again_is_none(mode: ScreenMode) -> None:
    session = play(spec("global"), "0 start")
    session.do(T0 + 1, Screen(mode))
    assert session.lines[-1].startswith("0.001 screen_updated")
    assert session.do(T0 + 2, Screen(mode)).all_transitions == ()
    assert session_json(session.state)["screen"] == mode
    session.do(T0 + 3, Screen(None))
    assert "screen" not in session_json(session.state)


@pytest.mark.parametrize("ended", ["0 start; 1 complete", "0 start; 61 time", "0 cancel"])
@pytest.mark.parametrize("command", [Announce("Thank you"), Screen(ScreenMode.STANDBY)], ids=["announce", "screen"])
def test_an_ended_session_accepts_both(ended: str, command: Command) -> None:
    session = play(spec("global"), ended)
    assert session.do(T0 + 90_000, command).refusal is None
    assert session.state.status.is_final


def test_an_undo_keeps_announcement_and_screen() -> None:
    session = play(spec("per_participant"), "0 start; 1 switch")
    session.do(T0 + 2_000, URGENT)
    session.do(T0 + 2_000, Screen(ScreenMode.FOCUS))
    before = session.state
    session.do(T0 + 3_000, Undo())
    assert session.state.version == before.version + 1
    assert (session.state.announcement, session.state.screen) == (before.announcement, ScreenMode.FOCUS)


@pytest.mark.parametrize("command", [URGENT, Announce(None), Screen(None)], ids=["announce", "remove", "screen"])
def test_a_session_of_the_first_edition_refuses_both(command: Command) -> None:
    session = play(spec("global"), "0 start")
    session.state = as_first_edition(session.state)
    refusal = session.do(T0 + 1, command).refusal
    assert refusal is not None
    assert refusal.code == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    "text", ["Tea", '","turn":{"used_ms":0},"updated_at":"', "é\n\u200f"], ids=["plain", "members", "lines"]
)
@pytest.mark.parametrize("until_ms", [None, T0 + 5_000], ids=["without an end", "with an end"])
def test_a_document_with_announcement_and_screen_is_parsed_to_the_same_state(text: str, until_ms: int | None) -> None:
    session = play(spec("global", labels={"round": "1"}), "0 start")
    session.do(T0, Announce(text, AnnouncementTone.WARNING, until_ms=until_ms))
    session.do(T0, Screen(ScreenMode.BLACKOUT))
    document = render_session(session.state)
    assert parse_session(document) == session.state
    assert render_session(parse_session(document)) == document
