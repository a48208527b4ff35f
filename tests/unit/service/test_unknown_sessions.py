"""Memory of session ids that no store knows."""

import pytest

from synckairos.service import unknown_sessions
from synckairos.service.unknown_sessions import REMEMBER_S, UnknownSessionCache


def test_unknown_id_is_remembered_for_some_seconds_unless_it_is_forgotten() -> None:
    now_s = 100.0
    unknown = UnknownSessionCache(clock=lambda: now_s)
    assert not unknown.contains("a")
    unknown.add("a")
    unknown.add("b")
    unknown.remove("b")
    assert (unknown.contains("a"), unknown.contains("b")) == (True, False)
    now_s += REMEMBER_S
    assert not unknown.contains("a")


def test_number_of_remembered_ids_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_sessions, "MAX_NAMES", 2)
    unknown = UnknownSessionCache()
    for session_id in ("a", "b", "a", "c"):
        unknown.add(session_id)
    assert [unknown.contains(each) for each in "abc"] == [True, False, True]
