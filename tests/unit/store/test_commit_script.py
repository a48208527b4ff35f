"""The commit script: the Python lists of its KEYS and ARGV have the same names in the same order as the script."""

import re

from synckairos.background.timekeeper import MAX_SLEEP_S
from synckairos.store.commit_script import (
    MAX_CHANGES,
    MAX_RECORDS,
    RECORDS_TTL_MS,
    RECORDS_TTL_SLACK_MS,
    WAKE_UP_WITHIN_MS,
    CommitArguments,
    CommitKeys,
    VersionArguments,
)
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.outbox import MIN_STAY_AFTER_DEADLINE_MS

TEXT = LuaScript("commit").text


def names_of(source: str) -> tuple[str, ...]:
    """Return the names that the script gives to the elements of `KEYS` or `ARGV`. Check that no index is missing."""
    found = re.findall(rf"^local (\w+) = {source}\[(\d+)\]", TEXT, re.MULTILINE)
    assert [int(index) for _, index in found] == list(range(1, len(found) + 1))
    return tuple(name for name, _ in found)


def test_the_keys_have_the_names_and_order_of_the_script() -> None:
    assert names_of("KEYS") == CommitKeys._fields


def test_the_arguments_have_the_names_and_order_of_the_script() -> None:
    assert names_of("ARGV") == CommitArguments._fields


def test_the_arguments_of_each_version_have_the_names_order_and_first_index_of_the_script() -> None:
    (places,) = re.findall(r"^local FIRST, EACH = (\d+), (\d+)$", TEXT, re.MULTILINE)
    assert tuple(map(int, places)) == (len(CommitArguments._fields) + 1, len(VersionArguments._fields))
    (names, offsets) = re.findall(r"^local (VERSION, [A-Z_, ]+) = ([\d, ]+)$", TEXT, re.MULTILINE)[0]
    assert tuple(names.lower().split(", ")) == VersionArguments._fields
    assert offsets == ", ".join(map(str, range(len(VersionArguments._fields))))


def test_the_script_uses_the_numbers_of_arguments_only_where_it_names_them() -> None:
    body = TEXT.partition("\nlocal FIRST, EACH")[2]
    assert not re.search(r"(KEYS|ARGV)\[\d+\]|#ARGV - \d", body)


def test_the_script_has_the_limits_of_idempotency_records() -> None:
    assert f"\nlocal RECORDS_MS = {RECORDS_TTL_MS} " in TEXT
    assert f"\nlocal RECORDS_SLACK_MS = {RECORDS_TTL_SLACK_MS} " in TEXT
    assert f"\nlocal MAX_RECORDS = {MAX_RECORDS}\n" in TEXT
    assert f"\nlocal AFTER_DEADLINE_MS = {MIN_STAY_AFTER_DEADLINE_MS} " in TEXT
    assert f"\nlocal RECORDS_MS = {RECORDS_TTL_MS} " in LuaScript("session_restore").text


def test_timekeepers_read_the_deadlines_that_a_commit_does_not_publish_in_time() -> None:
    assert f"\nlocal WAKE_UP_WITHIN_MS = {WAKE_UP_WITHIN_MS} " in TEXT
    assert WAKE_UP_WITHIN_MS >= 2 * MAX_SLEEP_S * 1_000


def test_the_script_has_the_maximum_number_of_consecutive_changes() -> None:
    assert f"\nlocal MAX_CHANGES = {MAX_CHANGES} " in TEXT
