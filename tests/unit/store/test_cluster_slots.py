"""Slots of a Redis Cluster: which slot a command belongs to, and how the answers of nodes are read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from synckairos.store.cluster_commands import prepare_commands
from synckairos.store.cluster_slots import (
    Redirect,
    SlotRange,
    parse_cluster_view,
    parse_redirect,
    slot_of_command,
    slot_of_key,
    slot_of_pattern,
)
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import CLUSTER_SCRIPT_TEXTS, CLUSTER_SCRIPTS, LuaScript
from synckairos.store.shared_connection import RedisCommand

ASKED = ("10.0.0.9", 7000)


@given(st.text(alphabet="{}ab:0", max_size=12))
def test_slot_of_a_key_is_that_of_the_specification(key: str) -> None:
    assert slot_of_key(key) == key_slot(key.encode())


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("HMGET", "sk:{3}:session:a", "epoch"), "{3}"),
        (("PUBLISH", "sk:{3}:feed:a", b"x"), "{3}"),
        (("UNLINK", b"sk:{3}:session:a"), "{3}"),
        (("EVALSHA", "0" * 40, 2, "sk:{3}:a", "sk:{3}:b", "argument"), "{3}"),
        (("SCAN", b"0", "MATCH", "sk:{3}:session:*", "COUNT", 10), "{3}"),
        (("SCAN", b"0", "MATCH", "sk:{*}:*", "COUNT", 10), None),
        (("SCAN", b"0", "MATCH", "sk:*", "COUNT", 10), None),
        (("EVAL", "return 1", 0), None),
        (("TIME",), None),
        (("INFO", "memory"), None),
    ],
)
def test_slot_of_a_command_is_that_of_its_first_key(command: RedisCommand, key: str | None) -> None:
    assert slot_of_command(command) == (None if key is None else key_slot(key.encode()))


def test_pattern_with_an_empty_hash_tag_can_match_keys_of_several_slots() -> None:
    assert slot_of_pattern("sk:{}:session:*") is None


def test_command_without_a_key_goes_with_the_first_command_that_has_one() -> None:
    commands = prepare_commands([("TIME",), ("GET", "sk:{5}:a"), ("GET", "sk:{6}:a"), ("TIME",)])
    five, six = slot_of_key("{5}"), slot_of_key("{6}")
    assert [each.slot for each in commands] == [five, five, six, five]


def test_publish_is_sharded() -> None:
    (sent,) = prepare_commands([("PUBLISH", "sk:{5}:feed:a", b"x")])
    assert sent.command == ("SPUBLISH", "sk:{5}:feed:a", b"x")


def test_script_gets_a_guard_key_of_its_slot_and_another_hash() -> None:
    script, keys = LuaScript("deadlines_claim", allow_oom=True), Keys(partitions=8)
    (sent,) = prepare_commands([("EVALSHA", script.sha, 1, keys.deadlines(3), "argument")])
    _, sha, count, deadlines, guard, argument = sent.command
    assert (sha, count, deadlines, argument) == (CLUSTER_SCRIPTS[script.sha].sha, 2, keys.deadlines(3), "argument")
    assert slot_of_key(str(guard)) == slot_of_key(keys.deadlines(3))
    assert str(guard).startswith(keys.prefix)
    assert CLUSTER_SCRIPT_TEXTS[str(sha)].startswith("#!lua flags=allow-oom\nKEYS[#KEYS] = nil\n")


def test_scripts_publish_by_spublish_in_a_cluster() -> None:
    script = LuaScript("commit")
    assert "'PUBLISH'" in script.text
    text = CLUSTER_SCRIPTS[script.sha].text
    assert "'PUBLISH'" not in text
    assert text.count("'SPUBLISH'") == script.text.count("'PUBLISH'")


@pytest.mark.parametrize(
    ("text", "redirect"),
    [
        ("MOVED 3999 127.0.0.1:6381", Redirect(False, 3999, ("127.0.0.1", 6381))),
        ("ASK 3999 db-1.internal:6381", Redirect(True, 3999, ("db-1.internal", 6381))),
        ("MOVED 3999 ::1:6381", Redirect(False, 3999, ("::1", 6381))),
        ("MOVED 3999 :6381", Redirect(False, 3999, ("10.0.0.9", 6381))),
        ("TRYAGAIN Multiple keys request during rehashing of slot", None),
        ("CLUSTERDOWN Hash slot not served", None),
        ("MOVED x y", None),
    ],
)
def test_redirect_is_read_from_an_error_reply(text: str, redirect: Redirect | None) -> None:
    assert parse_redirect(text, ASKED) == redirect


@pytest.mark.parametrize("host", [None, b"", b"?"], ids=["null", "empty", "unknown"])
def test_node_without_a_host_is_at_the_host_of_the_asked_node(host: bytes | None) -> None:
    slots: list[Any] = [
        [0, 99, [host, 7001, b"id", []], [b"10.0.0.2", 7002, b"id", []]],
        [100, 16383, [b"10.0.0.3", 7003, b"id"]],
    ]
    view = parse_cluster_view(b"cluster_state:ok\r\ncluster_current_epoch:7\r\n", slots, ASKED)
    assert (view.epoch, view.is_ok) == (7, True)
    assert view.ranges == (
        SlotRange(0, 99, ("10.0.0.9", 7001), 1),
        SlotRange(100, 16383, ("10.0.0.3", 7003), 0),
    )
    assert view.primaries == [("10.0.0.9", 7001), ("10.0.0.3", 7003)]
