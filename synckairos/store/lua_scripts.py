"""Lua scripts in `store/lua`. Each script runs atomically in Redis and is called by its hash.

In a Redis Cluster, a script has another text and hash, see `ClusterScript`.
"""

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

from msgspec import Struct
from redis.exceptions import ResponseError

from synckairos.store.call_metrics import name_script
from synckairos.store.shared_connection import Argument, RedisPipe

ScriptCall = tuple[list[str], list[Argument]]
"""The KEYS and the ARGV of one call of a script."""


class ClusterScript(Struct, frozen=True):
    """The text and the hash of a script for a Redis Cluster.

    The script publishes by SPUBLISH, so that only the nodes of the slot get the message. If `has_guard` is True, the
    call has one more key after its own keys, which never exists. While Redis moves the keys of a slot one by one, a
    script could find some of its keys and fail in the middle at a key that has moved. Because of the guard, Redis then
    refuses the call before the script runs, with TRYAGAIN or ASK.
    """

    text: str
    sha: str
    has_guard: bool


CLUSTER_SCRIPTS: Final[dict[str, ClusterScript]] = {}
"""The scripts for a Redis Cluster, by the text and by the hash of the script for one server."""

CLUSTER_SCRIPT_TEXTS: Final[dict[str, str]] = {}
"""The texts of the scripts for a Redis Cluster, by their hashes."""


class LuaScript:
    """A script that is called by its hash. If Redis does not have the script, the text of the script is sent."""

    def __init__(self, name: str, *, allow_oom: bool = False, uses_one_key: bool = False) -> None:
        """Read the text of the script from `store/lua/<name>.lua`.

        For a line `-- uses <library>` in the script, the text of that library is added before the script. If
        `allow_oom` is True, Redis also runs the script if the memory of Redis is full. Transitions by time and scripts
        that free memory need `allow_oom`. If `uses_one_key` is True, the script uses no key but its first, so it needs
        no guard in a Redis Cluster.
        """
        text = read_script(name)
        libraries = map(read_script, re.findall(r"^-- uses (\w+)$", text, re.MULTILINE))
        head, body = ("#!lua flags=allow-oom",) if allow_oom else (), "\n".join([*libraries, text])
        self.text = "\n".join([*head, body])
        self.sha = _hash(self.text)
        name_script(self.sha, name)
        guard = () if uses_one_key else ("KEYS[#KEYS] = nil",)
        cluster_text = "\n".join([*head, *guard, body.replace("redis.call('PUBLISH'", "redis.call('SPUBLISH'")])
        cluster_script = ClusterScript(cluster_text, _hash(cluster_text), bool(guard))
        CLUSTER_SCRIPTS[self.sha] = CLUSTER_SCRIPTS[self.text] = cluster_script
        CLUSTER_SCRIPT_TEXTS[cluster_script.sha] = cluster_text
        name_script(cluster_script.sha, name)

    async def call_many(self, pipe: RedisPipe, calls: Sequence[ScriptCall]) -> list[Any]:
        """Call the script several times in one round trip, and return the results in the order of `calls`.

        If Redis does not have the script, each call takes its own round trip. If a call fails, the first error is
        raised. Other calls were possibly executed then.
        """
        try:
            return await pipe.call_many([("EVALSHA", self.sha, len(keys), *keys, *args) for keys, args in calls])
        except ResponseError as error:
            if not is_missing_script(error):
                raise
            return [await self(pipe, *call) for call in calls]

    async def __call__(self, pipe: RedisPipe, keys: list[str], args: list[Argument]) -> Any:
        """Call the script in one round trip, or in two if its text must be sent."""
        try:
            return await pipe.call("EVALSHA", self.sha, len(keys), *keys, *args)
        except ResponseError as error:
            if not is_missing_script(error):
                raise
            return await pipe.call("EVAL", self.text, len(keys), *keys, *args)


def _hash(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def read_script(name: str) -> str:
    """Return the text of `store/lua/<name>.lua`."""
    return resources.files("synckairos.store").joinpath("lua", f"{name}.lua").read_text()


def is_missing_script(error: ResponseError) -> bool:
    """Return whether the error means that Redis does not have the script.

    Redis loses its scripts if it is restarted, replaced or flushed.
    """
    return str(error).startswith("NOSCRIPT")
