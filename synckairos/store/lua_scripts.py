"""Lua scripts in `store/lua`. Each script runs atomically in Redis and is called by its hash."""

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.exceptions import ResponseError

from synckairos.store.call_metrics import name_script
from synckairos.store.shared_connection import Argument, RedisPipe

ScriptCall = tuple[list[str], list[Argument]]
"""The KEYS and the ARGV of one call of a script."""


class LuaScript:
    """A script that is called by its hash. If Redis does not have the script, the text of the script is sent."""

    def __init__(self, name: str, *, allow_oom: bool = False) -> None:
        """Read the text of the script from `store/lua/<name>.lua`.

        For a line `-- uses <library>` in the script, the text of that library is added before the script. If
        `allow_oom` is True, Redis also runs the script if the memory of Redis is full. Transitions by time and scripts
        that free memory need `allow_oom`.
        """
        text = read_script(name)
        libraries = map(read_script, re.findall(r"^-- uses (\w+)$", text, re.MULTILINE))
        self.text = "\n".join([*(("#!lua flags=allow-oom",) if allow_oom else ()), *libraries, text])
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        name_script(self.sha, name)

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


def read_script(name: str) -> str:
    """Return the text of `store/lua/<name>.lua`."""
    return resources.files("synckairos.store").joinpath("lua", f"{name}.lua").read_text()


def is_missing_script(error: ResponseError) -> bool:
    """Return whether the error means that Redis does not have the script.

    Redis loses its scripts if it is restarted, replaced or flushed.
    """
    return str(error).startswith("NOSCRIPT")
