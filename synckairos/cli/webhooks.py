"""Commands `synckairos webhooks …`, which manage webhook endpoints and list their deliveries."""

from uuid import UUID

import click

from synckairos.cli.command import (
    CommandGroup,
    json_option,
    limit_option,
    load_command_settings,
    run_with_progress,
    tenant_option,
)
from synckairos.cli.escaped_echo import echo

_as_json = json_option("item")
_tenant = tenant_option("the endpoints")


@click.group(cls=CommandGroup)
def webhooks() -> None:
    """Manage webhook endpoints of a tenant and show their deliveries."""


@webhooks.command("add")
@click.argument("url")
@click.option("--event", "events", multiple=True, metavar="TYPE", help="Send only this type of event; repeatable.")
@click.option("--description", default="", help="Description of the endpoint.")
@click.option("--snapshots", is_flag=True, help="Include the session's document in each message.")
@_tenant
def webhooks_add(url: str, events: tuple[str, ...], description: str, snapshots: bool, tenant: str) -> None:
    """Create an endpoint at URL. Prints its id and its signing secret, which is not shown again."""
    settings = load_command_settings()
    from synckairos.admin import webhooks

    fields = {"url": url, "description": description, "snapshots": snapshots}
    fields |= {"event_types": list(events)} if events else {}
    echo("\n".join(run_with_progress("creating the endpoint", webhooks.add_endpoint(settings, fields, tenant))))


@webhooks.command("list")
@_as_json
@_tenant
def webhooks_list(as_json: bool, tenant: str) -> None:
    """List all endpoints of the tenant with their state and their filters."""
    settings = load_command_settings()
    from synckairos.admin import webhooks

    lines = run_with_progress("reading the endpoints", webhooks.list_endpoints(settings, tenant, as_json=as_json))
    echo("\n".join(lines) if lines else "no endpoints", err=not lines)


@webhooks.command("remove")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@_tenant
def webhooks_remove(webhook_id: UUID, tenant: str) -> None:
    """Delete endpoint ID and its deliveries."""
    settings = load_command_settings()
    from synckairos.admin import webhooks

    run_with_progress("removing the endpoint", webhooks.remove_endpoint(settings, str(webhook_id), tenant))
    echo(f"{webhook_id} is removed")


@webhooks.command("rotate")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@click.option(
    "--overlap",
    metavar="SECONDS",
    type=click.IntRange(0),
    default=86_400,
    show_default=True,
    help="Seconds for which messages are also signed with the old secret.",
)
@_tenant
def webhooks_rotate(webhook_id: UUID, overlap: int, tenant: str) -> None:
    """Replace the signing secret of endpoint ID. Prints the new secret, which is not shown again."""
    settings = load_command_settings()
    from synckairos.admin import webhooks

    echo(run_with_progress("replacing the secret", webhooks.rotate_secret(settings, str(webhook_id), overlap, tenant)))


@webhooks.command("deliveries")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@click.option(
    "--status", type=click.Choice(["pending", "delivered", "failed"]), help="List only deliveries with this status."
)
@limit_option("deliveries", 20, 200)
@_as_json
@_tenant
def webhooks_deliveries(webhook_id: UUID, status: str | None, limit: int, as_json: bool, tenant: str) -> None:
    """List deliveries to endpoint ID, newest first, with the result of each attempt."""
    settings = load_command_settings()
    from synckairos.admin import webhooks

    found = webhooks.list_deliveries(settings, str(webhook_id), status, limit, tenant, as_json=as_json)
    lines = run_with_progress("reading the deliveries", found)
    echo("\n".join(lines) if lines else "no deliveries", err=not lines)


@webhooks.command("test")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds to wait for the attempt of a worker.",
)
@_tenant
def webhooks_test(webhook_id: UUID, timeout: float, tenant: str) -> None:
    """Let a worker send a test message to endpoint ID, and print the result. Exits 1 if the message is not accepted."""
    settings = load_command_settings()
    from synckairos.admin import webhooks

    sent = webhooks.send_test_message(settings, str(webhook_id), timeout, tenant)
    echo("\n".join(run_with_progress("waiting for a worker to send the test message", sent)))
