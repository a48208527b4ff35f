"""Which ends a client comes back from, and where it goes."""

import pytest

from synckairos.client.errors import error_for_close, error_for_status
from synckairos.client.server_url import socket_url


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1008, 1011, 1012, 4000, 4001, 4002, 4499, 4504, 4510])
def test_these_close_codes_dont_end_a_client(code: int) -> None:
    assert error_for_close(code, "") is None


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (4500, "CONNECTION_ENDED"),
        (4501, "UNAUTHORIZED"),
        (4503, "FORBIDDEN"),
        (4513, "PAYLOAD_TOO_LARGE"),
        (4520, "TOO_MANY_CONNECTIONS"),
        (4999, "CONNECTION_ENDED"),
    ],
)
def test_these_close_codes_are_for_good(code: int, name: str) -> None:
    failure = error_for_close(code, "because")
    assert failure is not None
    assert failure.code == name
    assert "because" in failure.message


@pytest.mark.parametrize(
    ("status", "name"),
    [(401, "UNAUTHORIZED"), (403, "FORBIDDEN"), (404, "CONNECTION_ENDED"), (429, None), (500, None), (503, None)],
)
def test_a_refused_handshake(status: int, name: str | None) -> None:
    failure = error_for_status(status)
    assert (failure and failure.code) == name


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ws://h:1/ws", "ws://h:1/ws"),
        ("http://h:1", "ws://h:1/ws"),
        ("https://h/", "wss://h/ws"),
        ("wss://h/live?a=b", "wss://h/live?a=b"),
        ("http://[::1]:3000", "ws://[::1]:3000/ws"),
    ],
)
def test_an_address_is_the_socket_s_or_the_servers(given: str, meant: str) -> None:
    assert socket_url(given) == meant


@pytest.mark.parametrize("given", ["", "h:1", "ftp://h", "ws://", "127.0.0.1:3000"])
def test_what_is_no_address_is_said(given: str) -> None:
    with pytest.raises(ValueError, match="ws://"):
        socket_url(given)
