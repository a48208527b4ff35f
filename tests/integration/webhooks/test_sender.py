"""The webhook sender on real sockets: its signatures are valid, and it never connects to a refused address."""

import asyncio
import ssl
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from standardwebhooks import WebhookVerificationError

from synckairos.webhooks.address_guard import Address, AddressGuard
from synckairos.webhooks.sender import MAX_ANSWER_BYTES, WebhookSender
from tests.integration.webhooks.receiver import Received, Receiver, accept, answer

LOOPBACK = AddressGuard((ip_network("127.0.0.0/8"),), http=True)
ONE, OTHER = "whsec_" + "b25l" * 8, "whsec_" + "dHdv" * 8
TLS = Path(__file__).parent / "tls"
METADATA = ip_address("169.254.169.254")


class Resolver:
    """A resolver that returns its answers in order and then repeats the last answer. Counts the queries."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = answers
        self.queries = 0

    async def __call__(self, host: str) -> list[Address]:
        self.queries += 1
        return [ip_address(each) for each in self.answers[min(self.queries, len(self.answers)) - 1]]


async def test_message_is_verified_by_the_standard_webhooks_library(receiver: Receiver) -> None:
    body = '{"type":"tést"}'.encode()
    async with WebhookSender(LOOPBACK) as sender:
        sent = await sender.send(receiver.url, [ONE], "id-1", body)
    assert sent.accepted
    assert sent.error is None
    (received,) = receiver.received
    assert (received.method, received.path, received.body) == ("POST", "/hook", body)
    assert received.headers["content-type"] == "application/json"
    assert received.message_id == "id-1"
    assert received.verify(ONE) == {"type": "tést"}
    with pytest.raises(WebhookVerificationError):
        received.verify(OTHER)


async def test_message_signed_with_two_secrets_is_verified_by_both(receiver: Receiver) -> None:
    async with WebhookSender(LOOPBACK) as sender:
        await sender.send(receiver.url, [ONE, OTHER], "id-1", b"{}")
    (received,) = receiver.received
    assert received.headers["webhook-signature"].count("v1,") == 2
    assert received.verify(ONE) == received.verify(OTHER) == {}


@pytest.mark.parametrize("status", [199 + 1, 204, 299])
async def test_any_2xx_answer_is_accepted(receiver: Receiver, status: int) -> None:
    async def respond(received: Received) -> bytes:
        return answer(status)

    receiver.answer_with = respond
    async with WebhookSender(LOOPBACK) as sender:
        assert (await sender.send(receiver.url, [ONE], "id", b"{}")).accepted


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("retry-after: 7", 7),
        ("Retry-After: 999999999999999999999", 86_400),
        ("retry-after: Tue, 01 Jan 2999 00:00:00 GMT", 86_400),
        ("retry-after: Mon, 01 Jan 2001 00:00:00 GMT", 0),
        ("retry-after: soon", None),
        ("retry-after: -1", None),
        ("x: y", None),
    ],
)
async def test_refused_message_reports_status_and_retry_after(
    receiver: Receiver, header: str, seconds: float | None
) -> None:
    async def refuse(received: Received) -> bytes:
        return answer(503, header, body=b"secret of the inside")

    receiver.answer_with = refuse
    async with WebhookSender(LOOPBACK) as sender:
        sent = await sender.send(receiver.url, [ONE], "id", b"{}")
    assert (sent.status_code, sent.error, sent.retry_after_s) == (503, "answered 503", seconds)


async def test_redirect_is_not_followed(receiver: Receiver) -> None:
    async with Receiver() as internal:

        async def redirect(received: Received) -> bytes:
            return answer(307, f"location: {internal.url}")

        receiver.answer_with = redirect
        async with WebhookSender(LOOPBACK) as sender:
            sent = await sender.send(receiver.url, [ONE], "id", b"{}")
        assert not sent.accepted
        assert sent.status_code == 307
        assert "redirects" in (sent.error or "")
        assert internal.connections == 0


async def test_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with WebhookSender(LOOPBACK) as sender:
            assert (await sender.send(receiver.url, [ONE], "id", b"{}")).accepted
        assert proxy.connections == 0


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["fd00::1"],
        ["1.1.1.1", "127.0.0.1"], ["127.0.0.1", "1.1.1.1"], ["2606:4700:4700::1111", "::1"], [],
    ],
)  # fmt: skip
async def test_name_that_resolves_to_a_refused_address_is_not_connected_to(
    receiver: Receiver, found: list[str]
) -> None:
    async with WebhookSender(AddressGuard(http=True), resolve=Resolver(found)) as sender:
        sent = await sender.send(f"http://inside.example.org:{receiver.port}/", [ONE], "id", b"{}")
    assert sent.status_code is None
    assert "address" in (sent.error or "")
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "url", ["http://localhost:{}/", "http://2130706433:{}/", "http://0177.0.0.1:{}/", "http://[::ffff:7f00:1]:{}/"]
)
async def test_other_spellings_of_loopback_are_not_connected_to(receiver: Receiver, url: str) -> None:
    async with WebhookSender(AddressGuard(http=True)) as sender:
        sent = await sender.send(url.format(receiver.port), [ONE], "id", b"{}")
    assert sent.status_code is None
    assert receiver.connections == 0


async def test_connection_uses_the_address_that_was_checked(receiver: Receiver) -> None:
    """DNS rebinding: the first answer is allowed, and all later answers are refused. The sender must query one time."""
    resolver = Resolver(["127.0.0.1"], ["169.254.169.254"])
    async with WebhookSender(LOOPBACK, resolve=resolver) as sender:
        url = f"http://rebinding.example.org:{receiver.port}/"
        assert (await sender.send(url, [ONE], "id", b"{}")).accepted
        assert resolver.queries == 1
        assert receiver.received[0].headers["host"] == f"rebinding.example.org:{receiver.port}"

        async def hang_up(received: Received) -> bytes:
            raise OSError

        # A kept connection leads to the checked address. Once it is closed, the name is resolved and checked again.
        receiver.answer_with = hang_up
        assert not (await sender.send(url, [ONE], "id", b"{}")).accepted
        receiver.answer_with = accept
        sent = await sender.send(url, [ONE], "id", b"{}")
        assert sent.error == f"the host's address {METADATA} is not on the public internet"
        assert resolver.queries == 2


async def test_second_address_is_used_if_the_first_does_not_connect(receiver: Receiver) -> None:
    resolver = Resolver(["127.0.0.2", "127.0.0.1"])  # no server listens at the first address
    async with WebhookSender(LOOPBACK, resolve=resolver) as sender:
        assert (await sender.send(f"http://two.example.org:{receiver.port}/", [ONE], "id", b"{}")).accepted


async def test_tls_sends_the_host_name_and_checks_the_certificate() -> None:
    trust = ssl.create_default_context(cafile=str(TLS / "hooks.test.crt"))
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(TLS / "hooks.test.crt", TLS / "hooks.test.key")
    async with Receiver(tls=own) as receiver:
        async with WebhookSender(LOOPBACK, resolve=Resolver(["127.0.0.1"]), trust=trust) as sender:
            assert (await sender.send(f"https://hooks.test:{receiver.port}/", [ONE], "id", b"{}")).accepted
            assert receiver.received[0].server_name == "hooks.test"
            other = await sender.send(f"https://other.test:{receiver.port}/", [ONE], "id", b"{}")
        async with WebhookSender(LOOPBACK, resolve=Resolver(["127.0.0.1"])) as sender:
            unknown = await sender.send(f"https://hooks.test:{receiver.port}/", [ONE], "id", b"{}")
    assert "not valid for 'other.test'" in (other.error or "")
    assert "CERTIFICATE_VERIFY_FAILED" in (unknown.error or "")
    assert len(receiver.received) == 1


async def test_receiver_that_never_answers_fails_after_the_timeout(receiver: Receiver) -> None:
    async def never(received: Received) -> bytes:
        await asyncio.Event().wait()
        return b""

    receiver.answer_with = never
    async with WebhookSender(LOOPBACK, timeout_s=0.2) as sender:
        sent = await sender.send(receiver.url, [ONE], "id", b"{}")
    assert (sent.status_code, sent.error) == (None, "no complete answer within 0.2 s")


async def test_endless_answer_body_is_not_read() -> None:
    written = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 So\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
                written += 65_536
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with WebhookSender(LOOPBACK) as sender:
            sent = await sender.send(url, [ONE], "id", b"{}")
    assert (sent.status_code, sent.error) == (500, "answered 500")
    assert written < 200 * MAX_ANSWER_BYTES


@pytest.mark.parametrize(
    "answer_bytes", [b"", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 100_000, b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000]
)
async def test_invalid_answer_is_a_failure(receiver: Receiver, answer_bytes: bytes) -> None:
    async def send_garbage(received: Received) -> bytes:
        if not answer_bytes:
            raise OSError
        return answer_bytes

    receiver.answer_with = send_garbage
    async with WebhookSender(LOOPBACK, timeout_s=5) as sender:
        sent = await sender.send(receiver.url, [ONE], "id", b"{}")
    assert not sent.accepted
    assert sent.error
    assert len(sent.error) <= 500
    assert "\0" not in sent.error


async def test_unreachable_host_and_unknown_name_are_failures(receiver: Receiver) -> None:
    async with WebhookSender(LOOPBACK) as sender:
        refused = await sender.send("http://127.0.0.1:1024/", [ONE], "id", b"{}")
        unknown = await sender.send("http://nowhere.invalid/", [ONE], "id", b"{}")
    assert "ConnectError" in (refused.error or "")
    assert "no address of nowhere.invalid" in (unknown.error or "")
