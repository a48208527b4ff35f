"""The set of retired keys: who hears of them, and when they are forgotten."""

import pytest

from synckairos.identity import retired_keys as module
from synckairos.identity.retired_keys import RetiredKeys


class Clock:
    """A clock in seconds that a test sets."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_listener_is_called_once_for_each_key_and_again_after_the_key_was_restored() -> None:
    retired, heard = RetiredKeys(max_credential_life_s=60), list[str]()
    retired.add_listener(heard.append)
    retired.retire("a")
    retired.retire("a")
    assert ("a" in retired, "b" in retired, None in retired) == (True, False, False)
    retired.restore("a")
    retired.restore("b")
    assert "a" not in retired
    retired.retire("a")
    assert heard == ["a", "a"]


def test_key_is_forgotten_when_its_tokens_have_expired() -> None:
    clock = Clock()
    retired = RetiredKeys(max_credential_life_s=60, clock=clock)
    retired.retire("a")
    clock.now_s += 59
    retired.retire("b")
    assert "a" in retired
    clock.now_s += 1
    retired.retire("c")
    assert [name in retired for name in "abc"] == [False, True, True]


def test_number_of_retired_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 3)
    retired = RetiredKeys(max_credential_life_s=60)
    for name in "abcde":
        retired.retire(name)
    assert [name in retired for name in "abcde"] == [False, False, True, True, True]
