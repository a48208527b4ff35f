"""The URL of a server's WebSocket from its HTTP or WebSocket URL."""

import pytest

from synckairos_client.server_url import socket_url


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ws://h:1/ws", "ws://h:1/ws"),
        ("http://h:1", "ws://h:1/ws"),
        ("https://h/", "wss://h/ws"),
        ("ws://h:1/ws/", "ws://h:1/ws"),
        ("wss://h/live?a=b", "wss://h/live/ws?a=b"),
        ("https://h/clock", "wss://h/clock/ws"),
        ("https://h/clock/", "wss://h/clock/ws"),
        ("wss://h/apps/clock/ws", "wss://h/apps/clock/ws"),
        ("https://h/news", "wss://h/news/ws"),
        ("http://[::1]:3000", "ws://[::1]:3000/ws"),
    ],
)
def test_http_and_websocket_urls_lead_to_the_socket(given: str, meant: str) -> None:
    assert socket_url(given) == meant


@pytest.mark.parametrize(
    "given", ["", "h:1", "ftp://h", "ws://", "127.0.0.1:3000", "http://h:99999", "http://[::1", "http://h:x"]
)
def test_invalid_url_raises_with_an_example(given: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        socket_url(given)
