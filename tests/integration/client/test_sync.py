"""The synchronous client on a real server: the same results, calls that wait, and interrupted waits."""

import threading
from uuid import uuid4

import pytest

from synckairos_client import ClientClosed, CommandRefused, SessionNotFound
from synckairos_client.sync import Client
from tests.integration.client.test_rest import ADA, BOB, CLOCK
from tests.processes import Process

TIMEOUT_S = 20.0


def test_synchronous_client_plays_reads_and_ends(serve_process: Process) -> None:
    fetched: list[int] = []

    def get_token() -> str:
        fetched.append(threading.get_ident())
        return "ignored"

    with Client(serve_process.base_url, get_token=get_token) as client:
        session_id = client.api.sessions.create(CLOCK)["session_id"]
        with client.watch(session_id, timeout_s=TIMEOUT_S) as session:
            updates = session.updates()
            assert next(updates).state.version == 1
            session.command("start", timeout_s=TIMEOUT_S)
            ack = session.command("switch", {"current_participant_id": ADA}, timeout_s=TIMEOUT_S)
            assert session.reach(ack.version, timeout_s=TIMEOUT_S).active_position == 1
            assert [next(updates).state.version, next(updates).state.version] == [2, 3]
            updates.close()
            left_ms = session.remaining_ms(BOB)
            assert left_ms is not None
            assert 0 < left_ms <= 300_000
            assert session.used_ms() >= session.used_ms(ADA)
            assert session.document["active_participant_id"] == BOB
            assert client.is_connected
            assert client.is_time_known
            measured = client.measure(TIMEOUT_S)
            # The bound of the client is at most that of the new measurement. It grows slowly until it is read.
            assert 0 < client.error_ms <= measured.error_ms + 10
            assert abs(client.now_ms() - client.api.time.get()["timestamp_ms"]) < 60_000
            present = next(iter(session.presences()))
            assert (present.clients, session.present) == (1, present)
            with pytest.raises(CommandRefused):
                client.command(session_id, "start", timeout_s=TIMEOUT_S)
            with pytest.raises(TimeoutError):
                session.reach(99, timeout_s=0.01)
        with pytest.raises(SessionNotFound), client.watch(str(uuid4())):
            pass
    assert threading.get_ident() not in fetched
    for use in (client.now_ms, lambda: client.api.time.get()):
        with pytest.raises(ClientClosed):
            use()
    with client:
        assert client.api.sessions.get(session_id)["version"] == 3
