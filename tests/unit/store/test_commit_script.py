"""The commit script: the Python lists of its KEYS and ARGV have the same names in the same order as the script."""

import re

import pytest

from synckairos.background.timekeeper import MAX_SLEEP_S
from synckairos.clock.transition import EventType
from synckairos.store.commit_script import (
    MAX_CHANGES,
    MAX_RECORDS,
    RECORDS_TTL_MS,
    RECORDS_TTL_SLACK_MS,
    WAKE_UP_WITHIN_MS,
    Commit,
    CommitArguments,
    CommitKeys,
    CommitScript,
    NewVersion,
    VersionArguments,
)
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript, ScriptCall
from synckairos.store.outbox import MIN_STAY_AFTER_DEADLINE_MS
from synckairos.store.outbox_limits import UNLIMITED
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.snapshot import SessionSnapshot

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


SESSION = "0190d0e2-7c6f-7000-8000-00000000000a"


def call_of(session_name: str, partitions: int) -> ScriptCall:
    """Return the KEYS and ARGV of a commit of the session `SESSION` under this name."""
    base = SessionSnapshot("e1", 1, b'{"version":1}', "t1")
    after = SessionSnapshot("e1", 2, b'{"version":2}', "t2")
    version = NewVersion(b'{"event_type":"session_started"}', FeedMessage(SESSION, after, EventType.SESSION_STARTED, 1))
    commit = Commit(session_name, base, [version], "running", 2_000, 500, "press-1", b'["f","e1",2,null,null]')
    names, args = CommitScript(Keys("sk", partitions), 50, UNLIMITED).build_call(commit)
    return names, args


HEADER = (
    b'{"session_id":"0190d0e2-7c6f-7000-8000-00000000000a","epoch":"e1","version":2,"event_type":"session_started",'
    b'"at_ms":1,"tag":"t2"}\n'
)


@pytest.mark.parametrize(("partitions", "partition"), [(1, 0), (64, 45)], ids=["one partition", "64 partitions"])
def test_commit_in_the_default_tenant_has_the_keys_and_arguments_of_earlier_releases(
    partitions: int, partition: int
) -> None:
    """Instances of releases without tenants use the same keys at the same time. The texts are of such a release."""
    sk = f"sk:{{{partition}}}"
    assert call_of(SESSION, partitions) == (
        [
            *(f"{sk}:{kind}:{SESSION}" for kind in ("session", "history", "commands")),
            *(f"{sk}:{kind}" for kind in ("deadlines", "outbox", "live")),
            *(f"{sk}:outbox:{kind}" for kind in ("bytes", "indexed", "participants", "tenants")),
            f"{sk}:fence",
        ],
        [
            *(SESSION, "e1", 1, "t1", "press-1", b'["f","e1",2,null,null]', 1, "e1", "running", 0, 2_000, 50),
            *(f"{sk}:feed:{SESSION}", "sk:wake", 500, "", "", "", 0),
            "",  # the share of another tenant, which the default tenant does not have
            b"",  # the script builds the message of the history
            *(2, "t2", b'{"event_type":"session_started"}', HEADER, b'{"version":2}', ""),
        ],
    )


def test_commit_in_another_tenant_differs_only_in_names_and_has_the_live_set_of_its_tenant() -> None:
    name = f"acme/{SESSION}"
    names, args = call_of(SESSION, 1)
    live = names.index("sk:{0}:live")
    named = [text.replace(SESSION, name) for text in names]
    named[live] = "sk:{0}:live:acme"
    share = CommitArguments._fields.index("outbox_share")
    header = len(CommitArguments._fields) + VersionArguments._fields.index("header")
    expected = [
        text.replace(SESSION, name) if isinstance(text, str) and at != header else text for at, text in enumerate(args)
    ]
    expected[share] = "acme - 0"
    assert call_of(name, 1) == (named, expected)
