"""Rate-limit quotas: the rates, and the token bucket of one client or session in Redis that each quota uses."""

from functools import cache, lru_cache

from msgspec import Struct

from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.shared_connection import RedisCommand

TAKE_SCRIPT = LuaScript("rate_limit_take", allow_oom=True, uses_one_key=True)

PRESSES = frozenset({"switch", "pause", "resume"})
"""Commands that participants send while the clock runs. If such a command has to wait, a participant loses time."""

_LARGER_BURSTS_FROM = 30  # presses a second


class Rate(Struct, frozen=True):
    """A rate limit: `limit` requests in `period_s` seconds on average, and at most `burst` requests at the same time.

    `unit` is the name of the counted unit. `setting` is the variable that sets the limit.
    """

    name: str
    limit: int
    period_s: int
    burst: int
    unit: str
    setting: str
    script_arguments: tuple[str, str] = ("", "")
    """Duration in µs for one token, and size of the bucket. They are texts, so that a press renders no numbers."""

    @property
    def per_s(self) -> float:
        """Return the number of tokens that a bucket gains per second."""
        return self.limit / self.period_s

    @property
    def description(self) -> str:
        """Return a text for errors: the name, the value and the setting of the rate limit."""
        return f"{self.name} limit of {self.limit:,} {self.unit} ({self.setting})"


def make_rate(name: str, limit: int, period_s: int, burst: int, unit: str, setting: str) -> Rate:
    """Return a rate limit with its `script_arguments`. See `Rate` for the parameters."""
    return Rate(name, limit, period_s, burst, unit, setting, (repr(period_s * 1_000_000 / limit), str(burst)))


def general_rate(limit: int) -> Rate:
    """Return the rate limit for all requests of one client: `limit` per minute, with bursts of at most `limit`."""
    return make_rate("general", limit, 60, limit, "requests a minute and client", "RATE_LIMIT_GENERAL")


def switch_rate(limit: int) -> Rate:
    """Return the rate limit for the presses of one session: `limit` per second.

    If `limit` is at least the default of RATE_LIMIT_SWITCH, bursts have at most a third more presses than `limit`, so
    that 40 bids can arrive together at the end of an auction. With a smaller `limit`, bursts have at most `limit`
    presses, as in v2.
    """
    burst = limit + limit // 3 if limit >= _LARGER_BURSTS_FROM else limit
    return make_rate("switch", limit, 1, burst, "presses a second and session", "RATE_LIMIT_SWITCH")


@cache
def replay_rate(general: Rate) -> Rate:
    """Return the rate limit for the replays of one client: two times the general limit.

    A replay takes a token only from the bucket of this rate limit.
    """
    limit = 2 * general.limit
    return make_rate("replay", limit, 60, limit, "replays a minute and client", general.setting)


class Quota(Struct, frozen=True):
    """A rate limit for one client or one session. `owner` identifies the client or session."""

    rate: Rate
    owner: str

    def bucket_key(self, keys: Keys) -> str:
        """Return the Redis key of the quota's token bucket."""
        return _bucket_key(keys, self.rate.name, self.owner)

    def make_take_tokens_command(self, keys: Keys, tokens: int) -> RedisCommand:
        """Return the Redis command that takes `tokens` tokens from the bucket of the quota.

        If `tokens` is negative, the command gives tokens back.
        """
        return ("EVALSHA", TAKE_SCRIPT.sha, 1, self.bucket_key(keys), *self.rate.script_arguments, tokens)


@lru_cache(maxsize=4096)
def _bucket_key(keys: Keys, name: str, owner: str) -> str:
    # A client and a session send many requests.
    return keys.rate_limit_bucket(f"{name}:{owner}")
