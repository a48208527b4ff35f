"""Sign-in of sockets by messages: AUTH for sockets without a credential of the handshake, and REFRESH."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from synckairos.errors import AuthenticationOff, Forbidden, RateLimitExceeded, TooManyConnections, Unauthorized
from synckairos.identity.authenticator import Authenticator
from synckairos.principal import Principal

AUTH_TIMEOUT_S = 5.0
"""Seconds that a socket without a credential waits for AUTH before it is closed."""

MAX_WAITING = 20
"""Maximum number of sockets of one address that wait for AUTH."""

REFRESH_INTERVAL_S = 5.0
"""Minimum seconds between two REFRESH messages of one socket."""


class SignIns:
    """The sign-ins of all sockets of one instance. `authenticator` is None while authentication is off."""

    def __init__(
        self,
        authenticator: Authenticator | None,
        *,
        auth_timeout_s: float = AUTH_TIMEOUT_S,
        refresh_interval_s: float = REFRESH_INTERVAL_S,
    ) -> None:
        self._authenticator = authenticator
        self._auth_timeout_s = auth_timeout_s
        self._refresh_interval_s = refresh_interval_s
        self._waiting: Counter[str] = Counter()
        """Sockets that wait for AUTH, by address."""

    def require_place(self, address: str) -> None:
        """Check that a further socket of this address is allowed to wait for AUTH. Raises: TooManyConnections."""
        if self._waiting[address] >= MAX_WAITING:
            raise TooManyConnections(f"{MAX_WAITING} connections of this address wait for AUTH; try again")

    def begin(self, principal: Principal, close: Callable[[], None]) -> "SignIn":
        """Return the sign-in of a new socket.

        If authentication is on and `principal` has no credential, the socket waits for AUTH.

        `close` is called if the socket waits longer than the time limit.
        """
        waits = self._authenticator is not None and principal.life is None
        sign_in = SignIn(self)
        if waits:
            self._waiting[principal.address] += 1
            sign_in.wait(principal.address, asyncio.get_running_loop().call_later(self._auth_timeout_s, close))
        return sign_in

    def release(self, address: str) -> None:
        """Subtract a socket that does not wait for AUTH any more from the waiting sockets of its address."""
        self._waiting[address] -= 1
        if not self._waiting[address]:
            del self._waiting[address]

    async def authenticate(self, token: str, address: str) -> Principal:
        """Return the principal of a token.

        Raises: the errors of `Authenticator.authenticate_token`, and AuthenticationOff.
        """
        return await self.require_authenticator().authenticate_token(token, address)

    def require_authenticator(self) -> Authenticator:
        """Return the authenticator. Raises: AuthenticationOff."""
        if self._authenticator is None:
            raise AuthenticationOff
        return self._authenticator

    def check_interval(self, last_s: float) -> float:
        """Check that the last REFRESH, at `last_s`, is long enough ago. Return the present instant.

        Both instants are in seconds by `time.monotonic()`.

        Raises: RateLimitExceeded if the last REFRESH is too recent.
        """
        now_s = time.monotonic()
        if (left_s := last_s + self._refresh_interval_s - now_s) > 0:
            limit = f"limit of one REFRESH in {self._refresh_interval_s:g} s"
            raise RateLimitExceeded(limit, "none", int(left_s * 1000) + 1)
        return now_s


class SignIn:
    """The sign-in of one socket: whether it waits for AUTH, and the time of its last REFRESH."""

    __slots__ = ("_address", "_is_busy", "_refreshed_at_s", "_sign_ins", "_timer")

    def __init__(self, sign_ins: SignIns) -> None:
        self._sign_ins = sign_ins
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None
        self._refreshed_at_s = float("-inf")
        self._is_busy = False

    @property
    def is_waiting(self) -> bool:
        """Return whether the socket waits for AUTH. It then handles only AUTH and PING."""
        return self._timer is not None

    def wait(self, address: str, timer: asyncio.TimerHandle) -> None:
        """Begin to wait for AUTH. `timer` closes the socket when it runs; `end_wait` cancels it."""
        self._address, self._timer = address, timer

    def end_wait(self) -> None:
        """End the wait, because the socket is authenticated or closed. If it does not wait, nothing happens."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._sign_ins.release(self._address)

    async def authenticate(self, token: str, address: str) -> Principal:
        """Verify the token of an AUTH from `address`, and return its principal.

        Raises: Forbidden if the socket does not wait for AUTH. Unauthorized and the other errors of the token.
        """
        if not self.is_waiting:
            self._sign_ins.require_authenticator()
            raise Forbidden("This connection is authenticated. Send REFRESH to replace its token")
        return await self._run(token, address)

    async def refresh(self, token: str, address: str) -> Principal:
        """Verify the token of a REFRESH from `address`, and return its principal.

        Raises: RateLimitExceeded if the last REFRESH is less than five seconds ago. Unauthorized and the other errors
            of the token.
        """
        self._refreshed_at_s = self._sign_ins.check_interval(self._refreshed_at_s)
        return await self._run(token, address)

    async def _run(self, token: str, address: str) -> Principal:
        if self._is_busy:
            raise Unauthorized("Wait for the answer to the last AUTH or REFRESH")
        self._is_busy = True
        try:
            return await self._sign_ins.authenticate(token, address)
        finally:
            self._is_busy = False
