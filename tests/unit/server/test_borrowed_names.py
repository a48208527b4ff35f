"""Internal names of uvicorn and `websockets` that the server uses. An upgrade without one of these names fails here."""

import asyncio
import inspect

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.server import ServerProtocol

from synckairos.server import direct_write_websocket, http_protocol


async def nothing(scope: object, receive: object, send: object) -> None:
    """An ASGI application that does nothing."""


@pytest.fixture
async def config() -> uvicorn.Config:
    return uvicorn.Config(nothing, log_config=None)


@pytest.mark.parametrize("name", direct_write_websocket.BORROWED_METHODS)
def test_uvicorns_websocket_protocol_has_the_overridden_method(name: str) -> None:
    assert inspect.isfunction(getattr(WebSocketsSansIOProtocol, name))


@pytest.mark.parametrize("name", http_protocol.BORROWED_METHODS)
def test_uvicorns_http_protocol_has_the_overridden_method(name: str) -> None:
    assert inspect.isfunction(getattr(HttpToolsProtocol, name))


async def test_uvicorns_protocols_have_the_used_attributes(config: uvicorn.Config) -> None:
    config.load()
    loop = asyncio.get_running_loop()
    socket = WebSocketsSansIOProtocol(config, ServerState(), {}, loop)
    assert [name for name in direct_write_websocket.BORROWED_ATTRIBUTES if not hasattr(socket, name)] == []
    http = HttpToolsProtocol(config, ServerState(), {}, loop)
    assert [name for name in http_protocol.BORROWED_ATTRIBUTES if not hasattr(http, name)] == [
        "url"
    ]  # attributes that the first request sets


def test_uvicorns_server_calls_the_overridden_methods() -> None:
    source = inspect.getsource(uvicorn.Server)
    for call in ("self.startup(", "self.shutdown(", "self.capture_signals("):
        assert call in source


def test_uvicorns_run_asgi_has_the_lines_that_the_override_repeats() -> None:
    """`BoundedWebSocketProtocol.run_asgi` replaces uvicorn's method and must behave like it."""
    source = inspect.getsource(WebSocketsSansIOProtocol.run_asgi)
    for line in ("await self.app(self.scope, self.receive, self.send)", "if self.close_timer is None:"):
        assert line in source


def test_websockets_parser_continues_with_the_generator_that_the_server_restarts() -> None:
    source = inspect.getsource(ServerProtocol.parse)
    assert source.rstrip().endswith("yield from super().parse()")
