"""The tokens of a client: one fixed token, or a function that returns a fresh token."""

from collections.abc import Awaitable, Callable

from synckairos_client.errors import TokenUnavailable, Unauthorized

GetToken = Callable[[], Awaitable[str]]
"""Function that returns a token which is valid now. It is called before each connection and before a token expires."""


class TokenSource:
    """Source of the token for each connection. Without a token and without a function there is no credential."""

    def __init__(self, token: str | None, get_token: GetToken | None) -> None:
        if token is not None and get_token is not None:
            raise ValueError("pass token or get_token, not both")
        self.newest = token
        """The token of the newest `fetch`, or the fixed token. None without a credential."""
        self._get_token = get_token
        self._refusals = 0

    @property
    def can_renew(self) -> bool:
        """Return whether `fetch` can return a fresh token, because the source has a function."""
        return self._get_token is not None

    async def fetch(self) -> str | None:
        """Return the token for the next connection, None without a credential.

        Raises: TokenUnavailable if the function raises an exception.
        """
        if self._get_token is None:
            return self.newest
        try:
            self.newest = await self._get_token()
            return self.newest
        except Exception as fault:
            raise TokenUnavailable(f"get_token failed: {fault!r}") from fault

    def accepted(self) -> None:
        """Reset the count of refusals, because the server accepted the token."""
        self._refusals = 0

    def refused(self) -> Unauthorized | None:
        """Count a refusal of the token with HTTP 401.

        Return the error to raise, or None to try again with a fresh token.

        A token can expire before it reaches the server. So the first refusal is not permanent if the source can renew
        the token.
        """
        self._refusals += 1
        if self.can_renew and self._refusals < 2:
            return None
        return Unauthorized(
            "The server refused the token" if self.newest or self.can_renew else "The server requires a token"
        )
