"""A token bucket: it limits a rate and allows bursts, with one number as its whole state.

The state is the instant at which the bucket is full again. Each token that is taken moves that instant further into
the future (the "generic cell rate algorithm" of ATM networks). `store/lua/rate_limit_take.lua` has the same
arithmetic in Redis.
"""


class TokenBucket:
    """A bucket of `size` tokens that gets `per_s` tokens in a second. It is full at first.

    All instants are seconds of one monotonic clock, which the caller reads.
    """

    __slots__ = ("_full_at_s", "per_s", "size")

    def __init__(self, per_s: float, size: float, full_at_s: float = float("-inf")) -> None:
        self.per_s = per_s
        self.size = size
        self._full_at_s = full_at_s

    def take(self, tokens: float, now_s: float) -> bool:
        """Take tokens and return True. If the bucket has fewer than `tokens` tokens, take nothing and return False."""
        taken = self._missing(now_s) + tokens
        if taken > self.size:
            # After a clock was set back, the bucket must begin to fill now, not when the clock has caught up.
            self._full_at_s = min(self._full_at_s, now_s + self.size / self.per_s)
            return False
        self._full_at_s = now_s + taken / self.per_s
        return True

    def return_tokens(self, tokens: float, now_s: float) -> None:
        """Put tokens back into the bucket. Tokens beyond the size of the bucket are lost."""
        self._full_at_s = now_s + max(0.0, self._missing(now_s) - tokens) / self.per_s

    def tokens_left(self, now_s: float) -> float:
        """Return the number of tokens in the bucket."""
        return self.size - self._missing(now_s)

    def seconds_until_available(self, tokens: float, now_s: float) -> float:
        """Return the seconds until the bucket has `tokens` tokens, 0 if it has them now.

        The result is infinite if `tokens` is larger than the bucket.
        """
        if tokens > self.size:
            return float("inf")
        return max(0.0, self._missing(now_s) + tokens - self.size) / self.per_s

    def is_full(self, now_s: float) -> bool:
        """Return whether the bucket is full at `now_s`.

        A full bucket has no state, so it can be replaced by a new bucket.
        """
        return self._full_at_s <= now_s

    def _missing(self, now_s: float) -> float:
        # A clock that was set back must not close the bucket for longer than it takes to fill it.
        return min(self.size, max(0.0, (self._full_at_s - now_s) * self.per_s))
