"""The names borrowed from uvicorn's insides are still there: an upgrade that moves one fails here."""

import asyncio
import inspect

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.server import ServerProtocol

from synckairos.server import http_protocol, websocket_protocol


async def nothing(scope: object, receive: object, send: object) -> None:
    """Be an application."""


@pytest.fixture
async def config() -> uvicorn.Config:
    return uvicorn.Config(nothing, log_config=None)


@pytest.mark.parametrize("name", websocket_protocol.BORROWED_METHODS)
def test_the_socket_protocol_has_its_methods(name: str) -> None:
    assert inspect.isfunction(getattr(WebSocketsSansIOProtocol, name))


@pytest.mark.parametrize("name", http_protocol.BORROWED_METHODS)
def test_the_http_protocol_has_its_methods(name: str) -> None:
    assert inspect.isfunction(getattr(HttpToolsProtocol, name))


async def test_both_have_their_attributes(config: uvicorn.Config) -> None:
    config.load()
    loop = asyncio.get_running_loop()
    socket = WebSocketsSansIOProtocol(config, ServerState(), {}, loop)
    assert [name for name in websocket_protocol.BORROWED_ATTRIBUTES if not hasattr(socket, name)] == []
    http = HttpToolsProtocol(config, ServerState(), {}, loop)
    assert [name for name in http_protocol.BORROWED_ATTRIBUTES if not hasattr(http, name)] == [
        "url"
    ]  # set with a request


def test_the_server_calls_what_we_override() -> None:
    source = inspect.getsource(uvicorn.Server)
    for call in ("self.startup(", "self.shutdown(", "self.capture_signals("):
        assert call in source


def test_an_application_is_run_and_ended_as_we_expect() -> None:
    """Our `run_asgi` stands in for theirs; this is what it must keep doing."""
    source = inspect.getsource(WebSocketsSansIOProtocol.run_asgi)
    for line in ("await self.app(self.scope, self.receive, self.send)", "if self.close_timer is None:"):
        assert line in source


def test_a_handshake_ends_in_the_parser_that_we_start_anew() -> None:
    source = inspect.getsource(ServerProtocol.parse)
    assert source.rstrip().endswith("yield from super().parse()")
