"""Rate limits: token buckets in Redis, so that all instances use the same buckets.

A request that is not a press takes one token from the general bucket of its client. A press takes one token from the
bucket of its session. Only a press that is refused or changes nothing also takes a token from the general bucket. The
reason is that the limits stop abuse, but must never stop a running session.
"""

from typing import Any

from redis.exceptions import ResponseError

from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript, is_missing_script
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import TAKE_SCRIPT
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe


class RateLimits:
    """Counts requests that do not load a session.

    A request that loads a session is counted by `SessionStore.load`, in the same round trip.
    """

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def count(self, meter: RateMeter) -> None:
        """Count a request against each quota of its meter, in one round trip.

        Raises:
            RateLimitExceeded: a quota is used up. The request has still taken the tokens of its other quotas.
            StoreUnavailable: Redis does not answer. The request was possibly counted.
        """
        if not meter.quotas:
            return
        with translated_errors():
            meter.record_replies(await run_script_commands(self._pipe, meter.build_count_commands(self._keys)))
        meter.raise_if_exceeded()

    async def uncount(self, meter: RateMeter) -> None:
        """Give back the tokens that a request took, in one round trip, and mark the request as not counted yet.

        Call this for a request that will be counted again.

        Raises: StoreUnavailable if Redis does not answer.
        """
        if commands := meter.build_refund_commands(self._keys):
            with translated_errors():
                await run_script_commands(self._pipe, commands)
        meter.require_recount()

    async def recount_as_replay(self, meter: RateMeter) -> None:
        """Count a request that is already counted as a replay instead. See `recount_as_replay_with_pipe`."""
        await recount_as_replay_with_pipe(self._pipe, self._keys, meter)


async def recount_as_replay_with_pipe(pipe: RedisPipe, keys: Keys, meter: RateMeter) -> None:
    """Give back the tokens that a replay took, and take one token of the client's quota for replays.

    One round trip for both. A request that is not limited by its client takes no token.

    Raises:
        RateLimitExceeded: the quota for replays is used up. The other tokens were given back.
        StoreUnavailable: Redis does not answer.
    """
    commands, quota = meter.build_refund_commands(keys), meter.replay_quota
    if quota is not None:
        commands.append(quota.make_take_tokens_command(keys, 1))
    if commands:
        with translated_errors():
            replies = await run_script_commands(pipe, commands)
        if quota is not None:
            meter.record_replay(quota, replies[-1])
    meter.mark_free()


async def run_script_commands(pipe: RedisPipe, commands: list[RedisCommand], *scripts: LuaScript) -> list[Any]:
    """Send commands in one round trip, and return the replies in the order of `commands`.

    The commands can call the token script and the scripts in `scripts`. If Redis lost a script, all scripts are loaded
    and all commands are sent again. So the commands must be safe to repeat.
    """
    try:
        return await pipe.call_many(commands)
    except ResponseError as error:
        if not is_missing_script(error):
            raise
    scripts = (TAKE_SCRIPT, *scripts)
    replies = await pipe.call_many([*(("SCRIPT", "LOAD", script.text) for script in scripts), *commands])
    return replies[len(scripts) :]
