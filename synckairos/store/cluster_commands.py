"""Commands as they are sent to a Redis Cluster: their slots, sharded channels, and scripts with guards.

This module sends no command to Redis.
"""

from collections.abc import Sequence

from msgspec import Struct

from synckairos.store.cluster_slots import NodeAddress, slot_of_command
from synckairos.store.lua_scripts import CLUSTER_SCRIPTS
from synckairos.store.shared_connection import RedisCommand


class SentCommand(Struct):
    """A command on its way: its number in the call, its slot, and the node that an ASK names."""

    at: int
    slot: int | None
    command: RedisCommand
    ask: NodeAddress | None = None
    script: str = ""
    """The text of the script to load before the command, if the node does not have it."""


def prepare_commands(commands: Sequence[RedisCommand]) -> list[SentCommand]:
    """Return the commands as they are sent to a Cluster, with their slots.

    A command without a key goes to the node of the first command with a key: the time of that node belongs to the data.
    """
    sent = [SentCommand(at, slot_of_command(command), _for_cluster(command)) for at, command in enumerate(commands)]
    first = next((each.slot for each in sent if each.slot is not None), 0)
    for each in sent:
        if each.slot is None:
            each.slot = first
    return sent


def _for_cluster(command: RedisCommand) -> RedisCommand:
    name = command[0]
    if name in ("EVALSHA", "EVAL"):
        script = CLUSTER_SCRIPTS.get(str(command[1]))
        if script is None:
            return command
        count = int(command[2])
        keys, arguments = command[3 : 3 + count], command[3 + count :]
        if script.has_guard:
            keys = (*keys, f"{keys[0]!s}:absent")
        return (name, script.sha if name == "EVALSHA" else script.text, len(keys), *keys, *arguments)
    if name == "PUBLISH":
        return ("SPUBLISH", *command[1:])
    return command
