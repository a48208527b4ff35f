"""For whoever says who is told of what happens, and sees how that goes."""

from uuid import UUID

import click

from synckairos.cli.command import Group, command_settings, run


@click.group(cls=Group)
def webhooks() -> None:
    """Say who is told of what happens, and see how that goes."""


@webhooks.command("add")
@click.argument("url")
@click.option("--event", "events", multiple=True, metavar="TYPE", help="Only this type of event; may be repeated.")
@click.option("--description", default="", help="What it is for.")
@click.option("--snapshots", is_flag=True, help="Send the session along, as each event left it.")
def webhooks_add(url: str, events: tuple[str, ...], description: str, snapshots: bool) -> None:
    """Have URL told of what happens. Prints its id, and the secret that signs: the only time it is told."""
    settings = command_settings()
    from synckairos.admin import webhooks

    asked = {"url": url, "description": description, "snapshots": snapshots}
    asked |= {"event_types": list(events)} if events else {}
    click.echo("\n".join(run(webhooks.add(settings, asked))))


@webhooks.command("list")
def webhooks_list() -> None:
    """List who is told of what."""
    settings = command_settings()
    from synckairos.admin import webhooks

    click.echo("\n".join(run(webhooks.list_endpoints(settings))) or "nobody is told")


@webhooks.command("remove")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
def webhooks_remove(webhook_id: UUID) -> None:
    """Tell ID no more, and forget what it was told."""
    settings = command_settings()
    from synckairos.admin import webhooks

    run(webhooks.remove(settings, str(webhook_id)))
    click.echo(f"{webhook_id} is told no more")


@webhooks.command("rotate")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@click.option(
    "--overlap",
    metavar="SECONDS",
    type=click.IntRange(0),
    default=86_400,
    show_default=True,
    help="How long both sign.",
)
def webhooks_rotate(webhook_id: UUID, overlap: int) -> None:
    """Replace the secret of ID and print the new one: the only time it is told."""
    settings = command_settings()
    from synckairos.admin import webhooks

    click.echo(run(webhooks.rotate(settings, str(webhook_id), overlap)))


@webhooks.command("deliveries")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@click.option("--status", type=click.Choice(["pending", "delivered", "failed"]), help="Only these.")
@click.option(
    "--limit", metavar="NUMBER", type=click.IntRange(1, 200), default=20, show_default=True, help="At most so many."
)
def webhooks_deliveries(webhook_id: UUID, status: str | None, limit: int) -> None:
    """Show what ID was told, newest first, and how each try went."""
    settings = command_settings()
    from synckairos.admin import webhooks

    click.echo("\n".join(run(webhooks.deliveries(settings, str(webhook_id), status, limit))) or "nothing")


@webhooks.command("test")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="Wait so long.",
)
def webhooks_test(webhook_id: UUID, timeout: float) -> None:
    """Have a worker send ID a test message, and say how that went; exit code 1 where it wasn't accepted."""
    settings = command_settings()
    from synckairos.admin import webhooks

    click.echo("\n".join(run(webhooks.test(settings, str(webhook_id), timeout))))
