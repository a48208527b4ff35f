"""For whoever runs it: everything at once for developers, the three processes of production, and the doctor."""

import asyncio
from pathlib import Path

import click

from synckairos.cli.command import command_settings, process_settings, run, run_until_signal
from synckairos.process.ready_line import render_ready

_host = click.option("--host", metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
_port = click.option(
    "--port", metavar="NUMBER", type=click.IntRange(0, 65535), help="Port to listen on (3000); 0 takes a free one."
)
_insecure = click.option(
    "--insecure", is_flag=True, help="Listen beyond loopback although everybody may do everything."
)


@click.command()
@_host
@_port
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the stores' data here; without it, it is gone at the end.",
)
@_insecure
def dev(host: str | None, port: int | None, data: Path | None, insecure: bool) -> None:
    """Run everything here: own Valkey and Postgres, server and worker. Reads .env. Ctrl-C ends all of it."""
    settings = process_settings(
        Path(".env"), host=host, port=port, insecure=insecure or None, dev=True
    ).refuse_exposure()
    from synckairos.process import dev as everything

    raise SystemExit(asyncio.run(everything.run_dev(settings, data)))


@click.command()
@_host
@_port
@_insecure
def serve(host: str | None, port: int | None, insecure: bool) -> None:
    """Serve REST and WebSocket. Stops cleanly on SIGTERM."""
    settings = process_settings(host=host, port=port, insecure=insecure or None).refuse_exposure()
    from synckairos.process import server

    run(server.serve(settings, on_ready=_say_ready))


@click.command()
def worker() -> None:
    """Move what happened from the outbox to Postgres, send webhooks, do background jobs. Stops cleanly on SIGTERM."""
    settings = process_settings()
    from synckairos.process import worker

    run(run_until_signal(worker.run_worker(settings)))


@click.command()
def migrate() -> None:
    """Bring the database's schema up to date, and say what was applied."""
    settings = command_settings()
    from synckairos.postgres.migrate import migrate as apply

    applied = run(apply(settings.database_url))
    click.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do")


@click.command()
def doctor() -> None:
    """Check every dependency and setting, and say what is wrong and how to mend it; exit code 1 where anything is."""
    from synckairos.admin import doctor as admin

    checks = run(admin.run_checks())
    for check in checks:
        click.echo(admin.render_check(check))
    raise SystemExit(0 if all(check.passed for check in checks) else 1)


def _say_ready(url: str) -> None:
    click.echo(render_ready(url))
