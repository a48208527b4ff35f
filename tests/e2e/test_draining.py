"""Graceful shutdown: readiness fails before the port closes, and no client delays the end of the process."""

import signal
import socket
from collections.abc import Callable
from time import monotonic
from urllib.parse import urlsplit

import httpx

from synckairos.config import Settings
from tests.processes import Process


def test_draining_server_answers_not_ready_before_it_closes_its_port(
    start_server: Callable[[Settings], Process], settings: Settings
) -> None:
    server = start_server(settings.model_copy(update={"drain_timeout_s": 4}))
    assert httpx.get(f"{server.base_url}/ready").status_code == 200
    server.send(signal.SIGTERM)
    answers = []
    while True:
        try:
            answer = httpx.get(f"{server.base_url}/ready")
        except httpx.TransportError:
            break
        answers.append((answer.status_code, answer.json()["status"]))
    assert (503, "not_ready") in answers
    assert answers[-1] == (503, "not_ready")
    assert server.wait_end() == 0


def test_clients_that_never_read_or_finish_a_request_do_not_delay_the_end(
    start_server: Callable[[Settings], Process], settings: Settings
) -> None:
    server = start_server(
        settings.model_copy(update={"drain_timeout_s": Settings.model_fields["drain_timeout_s"].default})
    )
    address = urlsplit(server.base_url)
    watcher_head = (
        "GET /ws?sessionId=0198c0de-0000-7000-8000-00000000000a HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    unfinished_request = (
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    )
    clients = []
    for head in (watcher_head, unfinished_request):
        client = socket.create_connection((address.hostname or "", address.port or 0))
        client.sendall(head.encode())
        clients.append(client)
    assert clients[0].recv(12) == b"HTTP/1.1 101"
    began = monotonic()
    server.send(signal.SIGTERM)
    assert server.wait_end() == 0
    assert monotonic() - began < 10
    for client in clients:
        client.close()
    assert "Traceback" not in server.output, server.output
