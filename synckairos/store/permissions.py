"""The permissions that the Redis user of the product needs, and a check for permissions that a user lacks.

A test compares these permissions with the commands in the code of this package and its Lua scripts. Another test runs
all processes as a user with exactly these permissions.
"""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from synckairos.store.keys import Keys

_STORE = {
    "decrby": "KEY 1",
    "del": "KEY",
    "eval": "TEXT 1 KEY",
    "evalsha": "TEXT 1 KEY",
    "exists": "KEY",
    "expire": "KEY 1",
    "get": "KEY",
    "getdel": "KEY",
    "hdel": "KEY 1",
    "hget": "KEY 1",
    "hgetall": "KEY",
    "hincrby": "KEY 1 1",
    "hkeys": "KEY",
    "hlen": "KEY",
    "hmget": "KEY 1",
    "hset": "KEY 1 1",
    "hsetnx": "KEY 1 1",
    "hstrlen": "KEY 1",
    "incr": "KEY",
    "incrby": "KEY 1",
    "info": "",
    "lrange": "KEY 0 1",
    "ltrim": "KEY 0 1",
    "multi": "",
    "persist": "KEY",
    "pexpire": "KEY 1",
    "ping": "",
    "pttl": "KEY",
    "publish": "CHANNEL TEXT",
    "rpush": "KEY 1",
    "scan": "0",
    "script|load": "TEXT",
    "set": "KEY 1",
    "subscribe": "CHANNEL",
    "time": "",
    "unlink": "KEY",
    "unsubscribe": "CHANNEL",
    "xadd": "KEY * 1 1",
    "xdel": "KEY 1",
    "xlen": "KEY",
    "xrange": "KEY - +",
    "xrevrange": "KEY + -",
    "zadd": "KEY 1 1",
    "zcard": "KEY",
    "zcount": "KEY 0 1",
    "zlexcount": "KEY - +",
    "zrange": "KEY 0 1",
    "zrangebyscore": "KEY 0 1",
    "zrem": "KEY 1",
    "zremrangebyscore": "KEY 0 1",
    "zrevrangebyscore": "KEY 1 0",
    "zscore": "KEY 1",
}
"""The commands of the store, each with sample arguments for the check. Only the check uses MULTI."""

_CLUSTER = {
    "asking": "",
    "cluster|info": "",
    "cluster|slots": "",
    "spublish": "CHANNEL TEXT",
    "ssubscribe": "CHANNEL",
    "sunsubscribe": "CHANNEL",
}
"""The additional commands for a Redis Cluster, each with sample arguments for the check."""

_NOT_IN_CLUSTER = ("publish", "subscribe", "unsubscribe")
"""Commands of the store that are not used in a Redis Cluster, because its channels are sharded."""

_QUEUE = {
    "dbsize": "",
    "del": "KEY",
    "exec": "",
    "exists": "KEY",
    "expire": "KEY 1",
    "get": "KEY",
    "incr": "KEY",
    "info": "",
    "multi": "",
    "ping": "",
    "psetex": "KEY 1 1",
    "pttl": "KEY",
    "set": "KEY 1",
    "unwatch": "",
    "watch": "KEY",
    "zadd": "KEY 1 1",
    "zcard": "KEY",
    "zrangebyscore": "KEY 0 1",
    "zrem": "KEY 1",
    "zscore": "KEY 1",
}
"""The commands of arq, each with sample arguments for the check."""

ARQ_KEYS = "arq:*"
"""Pattern of the keys that arq uses without the prefix of the product."""


_UNQUEUED = ("exec", "watch", "multi")
"""Commands that cannot be queued in a transaction. The check sends them before its transaction, MULTI last."""


class Permissions:
    """The permissions that the Redis user of the product needs.

    `store` adds the permissions for the Redis of the store. `queue` adds the permissions for the Redis of the job
    queue. If both use one Redis, both are True. `has_sentinels`: sentinels name the address of the Redis.
    `is_cluster`: the Redis is a Cluster.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        store: bool,
        queue: bool,
        db: int = 0,
        has_sentinels: bool = False,
        is_cluster: bool = False,
    ) -> None:
        of_store = {name: words for name, words in _STORE.items() if not (is_cluster and name in _NOT_IN_CLUSTER)}
        self._commands: Mapping[str, str] = {
            **(of_store if store else {}),
            **(_CLUSTER if is_cluster else {}),
            **(_QUEUE if queue else {}),
            **({"select": str(db)} if db else {}),
            **({"role": ""} if has_sentinels else {}),
        }
        self._key_patterns: tuple[str, ...] = (f"{keys.prefix}:*", *((ARQ_KEYS,) if queue else ()))
        self._channel_patterns: tuple[str, ...] = (f"{keys.prefix}:*",) if store else ()

    @property
    def redis_commands(self) -> frozenset[str]:
        """Return the names of the commands. The name of a subcommand is like `script|load`."""
        return frozenset(self._commands)

    def render_acl_rule(self, user: str = "synckairos") -> str:
        """Return the ACL SETUSER command that gives the Redis user `user` exactly these permissions.

        The word `PASSWORD` stands for the password.
        """
        words = [
            *("ACL", "SETUSER", user, "on", ">PASSWORD"),
            *("resetkeys", *(f"~{pattern}" for pattern in self._key_patterns)),
            *("resetchannels", *(f"&{pattern}" for pattern in self._channel_patterns)),
            *("-@all", *(f"+{command}" for command in sorted(self._commands))),
        ]
        return " ".join(words)

    async def find_missing_permissions(self, redis: Redis) -> list[str]:
        """Return the permissions that the user of the client lacks, as words of the ACL rule. No data is changed.

        The commands are queued in a transaction that is never executed, because Redis checks permissions when it queues
        a command. If the user lacks the permission for MULTI, the check ends early. Then more permissions can be
        missing than the result has.

        Raises: the errors of redis-py if Redis does not answer.
        """
        connection: Any = redis.connection_pool.make_connection()
        missing: dict[str, None] = {}
        first = [name for name in _UNQUEUED if name in self._commands]
        queued = [name for name in self._commands if name not in _UNQUEUED]
        try:
            await connection.connect()
            for command in (*first, *queued):
                if command in queued and "+multi" in missing:
                    break  # without a transaction, Redis would execute the command
                for key in self._key_patterns if "KEY" in self._commands.get(command, "").split() else ("",):
                    error = await self._send(connection, command, key)
                    if error is not None:
                        missing[self._missing_word(command, key, error)] = None
        finally:
            await connection.disconnect(nowait=True)
        return list(missing)

    async def _send(self, connection: Any, command: str, key_pattern: str) -> str | None:
        """Send a command with sample arguments. Return the error text if a permission is missing, else None."""
        channel = self._channel_patterns[0] if self._channel_patterns else ""
        samples = {"KEY": key_pattern.replace("*", "doctor"), "CHANNEL": channel.replace("*", "doctor")}
        arguments = [samples.get(word, word) for word in self._commands.get(command, "").split()]
        await connection.send_command(*command.upper().split("|"), *arguments)
        try:
            await connection.read_response()
        except NoPermissionError as error:
            return str(error)
        except ResponseError as error:
            return str(error) if "NOPERM" in str(error) else None  # EXEC wraps the refusal in another error
        return None

    def _missing_word(self, command: str, key_pattern: str, error: str) -> str:
        if " key" in error:
            return f"~{key_pattern}"
        if " channel" in error:
            return f"&{self._channel_patterns[0]}"
        return f"+{command}"
