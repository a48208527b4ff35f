"""The permissions of the Redis user: they are exactly the commands in the code of the store."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import synckairos.store
from synckairos.store.keys import Keys
from synckairos.store.permissions import Permissions

PACKAGE = Path(synckairos.store.__file__).parent

EXEMPT = {
    "permissions.py",  # the permissions themselves
    "redis_errors.py",  # first words of error replies
    "v2_sessions.py",  # commands to v2's Redis
}

SENT_BY_LIBRARIES = {"multi", "subscribe", "unsubscribe", "ssubscribe", "sunsubscribe"}
"""Commands that libraries send: MULTI for the check of permissions, the others for redis-py's pub/sub."""

CALL = r"(?:redis\.p?call|\bwrite)"
"""A call of a command in a script."""

ONLY_IN_CLUSTER = {"asking", "cluster|info", "cluster|slots", "spublish", "ssubscribe", "sunsubscribe"}

ALWAYS_ALLOWED = {"auth"}


def commands_of_scripts() -> set[str]:
    # The library executes commands whose names are in the scripts that use it.
    scripts = [path.read_text() for path in PACKAGE.glob("lua/*.lua") if path.stem != "write_replacing_invalid"]
    assert len(scripts) > 10
    assert not any(re.search(rf"{CALL}\(\s*[^'\s]", script) for script in scripts), "a command is no literal"
    return {name.lower() for script in scripts for name in re.findall(rf"{CALL}\(\s*'(\w+)'", script)}


def commands_of_modules() -> set[str]:
    """Return the commands in calls and tuples whose first item is a text in capital letters."""
    found = set()
    for path in PACKAGE.glob("*.py"):
        if path.name not in EXEMPT:
            for node in ast.walk(ast.parse(path.read_text())):
                found |= set(literal_commands(node))
    return found


def literal_commands(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Attribute(attr="call" | "call_on_each_primary"), args=words) | ast.Tuple(elts=words):
            texts = [word.value if isinstance(word, ast.Constant) else None for word in words]
            match texts:
                case ["SCRIPT" | "CLUSTER" as command, str(subcommand), *_]:
                    yield f"{command.lower()}|{subcommand.lower()}"
                case [str(name), *_] if name.isupper():
                    yield name.lower()


def test_rule_for_the_store_has_exactly_the_commands_of_its_code() -> None:
    used = commands_of_scripts() | commands_of_modules() | SENT_BY_LIBRARIES
    on_one_server = Permissions(Keys(), store=True, queue=False).redis_commands
    in_cluster = Permissions(Keys(), store=True, queue=False, is_cluster=True).redis_commands
    assert used - ALWAYS_ALLOWED - {"select", "role"} == on_one_server | in_cluster
    # In a Cluster, all channels are sharded.
    assert on_one_server - in_cluster == {"publish", "subscribe", "unsubscribe"}
    assert in_cluster - on_one_server == ONLY_IN_CLUSTER


def test_rule_names_the_prefix_the_user_and_select_only_if_it_is_needed() -> None:
    rule = Permissions(Keys("club"), store=True, queue=True, db=3).render_acl_rule("clock")
    start, commands = rule.split(" -@all ")
    assert start == "ACL SETUSER clock on >PASSWORD resetkeys ~club:* ~arq:* resetchannels &club:*"
    assert {"+select", "+evalsha", "+script|load", "+psetex"} <= set(commands.split())
    assert "select" not in Permissions(Keys(), store=True, queue=True).redis_commands
    assert "role" not in Permissions(Keys(), store=True, queue=True).redis_commands
    assert "role" in Permissions(Keys(), store=True, queue=True, has_sentinels=True).redis_commands


def test_rule_for_the_queue_has_no_channels() -> None:
    rule = Permissions(Keys(), store=False, queue=True).render_acl_rule()
    assert "resetchannels -@all" in rule
    assert "~sk:* ~arq:*" in rule
    assert "+evalsha" not in rule
