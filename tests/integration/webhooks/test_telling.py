"""Webhooks from the command line: registered, tested by a running worker, looked at, removed."""

import asyncio

import pytest
from click.testing import CliRunner, Result

from synckairos.cli import main
from synckairos.config import Settings
from synckairos.webhooks import dispatcher
from tests.integration.webhooks.receiver import Received, Receiver, answer

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Let webhooks go to this machine."""
    return settings.model_copy(update={"webhook_allowed_networks": ["127.0.0.0/8"], "webhook_allow_http": True})


async def told(settings: Settings, *args: str, code: int = 0) -> str:
    result: Result = await asyncio.to_thread(CliRunner().invoke, main, ["webhooks", *args], env=settings.environ())
    assert result.exit_code == code, result.output
    return result.output


async def test_an_endpoint_from_its_beginning_to_its_end(settings: Settings, receiver: Receiver) -> None:
    added = await told(settings, "add", receiver.url, "--event", "session_expired", "--description", "for the club")
    webhook_id, url, _, secret = added.split()
    assert url == receiver.url
    listed = await told(settings, "list")
    assert f"{webhook_id}  {receiver.url}  (enabled)\n    for the club\n    only session_expired\n" == listed

    sending = asyncio.create_task(dispatcher.run_dispatcher(settings))
    try:
        went = await told(settings, "test", webhook_id)
        assert "webhook_test of a test: delivered\n" in went
        assert "answered 204 after " in went
        receiver.received[0].verify(secret)

        newer = (await told(settings, "rotate", webhook_id, "--overlap", "0")).strip()

        async def refuse(received: Received) -> bytes:
            return answer(500)

        receiver.answer_with = refuse
        assert "answered 500 after " in await told(settings, "test", webhook_id, code=1)
        receiver.received[1].verify(newer)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert "failing since 2" in await told(settings, "list")
    log = await told(settings, "deliveries", webhook_id)
    assert [line.rpartition(": ")[2] for line in log.splitlines() if "webhook_test" in line] == ["pending", "delivered"]
    assert "next try 2" in log
    assert await told(settings, "deliveries", webhook_id, "--status", "failed") == "nothing\n"

    await told(settings, "remove", webhook_id)
    assert await told(settings, "list") == "nobody is told\n"
    assert NOBODY in await told(settings, "remove", NOBODY, code=1)


async def test_without_a_worker_a_test_says_so(settings: Settings, receiver: Receiver) -> None:
    webhook_id = (await told(settings, "add", receiver.url)).split()[0]
    assert "synckairos worker" in await told(settings, "test", webhook_id, "--timeout", "0.2", code=1)


async def test_what_can_not_be_registered_is_told(settings: Settings) -> None:
    assert await told(settings, "add", "ftp://example.org", code=1) == "url: should begin with https://\n"
    assert "event_types.0: should be one of session_created" in await told(
        settings, "add", "https://example.org", "--event", "nothing", code=1
    )
    assert (await told(settings, "rotate", NOBODY, "--overlap", "9" * 12, code=1)).startswith("overlap_s: should be ")
