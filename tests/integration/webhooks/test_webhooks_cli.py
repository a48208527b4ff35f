"""`synckairos webhooks`: an endpoint is added, tested by a running dispatcher, listed and removed."""

import asyncio

import pytest
from click.testing import CliRunner, Result

from synckairos.cli import main
from synckairos.config import Settings
from synckairos.webhooks import dispatcher
from tests.integration.webhooks.receiver import Received, Receiver, answer

MISSING_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Allow webhooks to loopback."""
    return settings.model_copy(update={"webhook_allowed_networks": ["127.0.0.0/8"], "webhook_allow_http": True})


async def run_cli(settings: Settings, *args: str, code: int = 0) -> str:
    result: Result = await asyncio.to_thread(
        CliRunner().invoke, main, ["webhooks", *args], env=settings.to_environment_variables()
    )
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.pooler
async def test_endpoint_is_added_listed_tested_rotated_and_removed(settings: Settings, receiver: Receiver) -> None:
    added = await run_cli(settings, "add", receiver.url, "--event", "session_expired", "--description", "for the club")
    webhook_id, url, _, secret = added.split()
    assert url == receiver.url
    listed = await run_cli(settings, "list")
    assert f"{webhook_id}  {receiver.url}  (enabled)\n    for the club\n    only session_expired\n" == listed

    sending = asyncio.create_task(dispatcher.run_dispatcher(settings))
    try:
        output = await run_cli(settings, "test", webhook_id)
        assert "webhook_test of a test: delivered\n" in output
        assert "answered 204 after " in output
        receiver.received[0].verify(secret)

        newer = (await run_cli(settings, "rotate", webhook_id, "--overlap", "0")).strip()

        async def refuse(received: Received) -> bytes:
            return answer(500)

        receiver.answer_with = refuse
        assert "answered 500 after " in await run_cli(settings, "test", webhook_id, code=1)
        receiver.received[1].verify(newer)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert "failing since 2" in await run_cli(settings, "list")
    log = await run_cli(settings, "deliveries", webhook_id)
    assert [line.rpartition(": ")[2] for line in log.splitlines() if "webhook_test" in line] == ["pending", "delivered"]
    assert "next attempt 2" in log
    assert await run_cli(settings, "deliveries", webhook_id, "--status", "failed") == "no deliveries\n"

    await run_cli(settings, "remove", webhook_id)
    assert await run_cli(settings, "list") == "no endpoints\n"
    assert MISSING_ID in await run_cli(settings, "remove", MISSING_ID, code=1)


async def test_webhooks_test_without_a_worker_fails_after_its_timeout(settings: Settings, receiver: Receiver) -> None:
    webhook_id = (await run_cli(settings, "add", receiver.url)).split()[0]
    assert "synckairos worker" in await run_cli(settings, "test", webhook_id, "--timeout", "0.2", code=1)


async def test_webhooks_commands_with_invalid_values_are_usage_errors(settings: Settings) -> None:
    assert await run_cli(settings, "add", "ftp://example.org", code=2) == "url: should begin with https://\n"
    assert "event_types.0: should be one of session_created" in await run_cli(
        settings, "add", "https://example.org", "--event", "nothing", code=2
    )
    assert (await run_cli(settings, "rotate", MISSING_ID, "--overlap", "9" * 12, code=2)).startswith(
        "overlap_s: should be "
    )


async def test_commands_work_on_the_endpoints_of_one_tenant(settings: Settings, receiver: Receiver) -> None:
    acme = ("--tenant", "acme")
    webhook_id = (await run_cli(settings, "add", receiver.url, *acme)).split()[0]
    assert await run_cli(settings, "list") == "no endpoints\n"
    assert (await run_cli(settings, "list", *acme)).startswith(webhook_id)
    for args in (("rotate", webhook_id), ("test", webhook_id), ("deliveries", webhook_id), ("remove", webhook_id)):
        assert webhook_id in await run_cli(settings, *args, code=1)
    assert await run_cli(settings, "deliveries", webhook_id, *acme) == "no deliveries\n"
    assert "synckairos worker" in await run_cli(settings, "test", webhook_id, "--timeout", "0.1", *acme, code=1)
    assert (await run_cli(settings, "rotate", webhook_id, *acme)).startswith("whsec_")
    await run_cli(settings, "remove", webhook_id, *acme)
    assert await run_cli(settings, "list", *acme) == "no endpoints\n"
