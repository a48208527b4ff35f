"""Commands that run the processes of the product (`dev`, `serve`, `worker`), `migrate` and `doctor`."""

import asyncio
from pathlib import Path

import click

from synckairos.cli.command import (
    end_at_signals,
    json_option,
    load_command_settings,
    load_process_settings,
    run,
    run_until_signal,
    run_with_progress,
)
from synckairos.cli.exit_codes import ExitCode
from synckairos.cli.progress import show_progress
from synckairos.process.ready_line import render_ready_line

_host = click.option("--host", metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
_port = click.option(
    "--port", metavar="NUMBER", type=click.IntRange(0, 65535), help="Port to listen on (3000). 0 selects a free port."
)
_insecure = click.option(
    "--insecure", is_flag=True, help="Allow a non-loopback address without authentication, and tokens over plain HTTP."
)


@click.command()
@_host
@_port
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Directory that keeps the data of the stores. If omitted, the data is removed at the end.",
)
@_insecure
@click.option("--auth", is_flag=True, help="Require tokens. Makes a secret, and prints a token for each role.")
def dev(host: str | None, port: int | None, data: Path | None, insecure: bool, auth: bool) -> None:
    """Run embedded Valkey and Postgres, a server and a worker. Reads .env. Ctrl-C stops all of them."""
    settings = load_process_settings(
        Path(".env"), host=host, port=port, insecure=insecure or None, auth="required" if auth else None, dev=True
    ).refuse_unprotected_exposure()
    from synckairos.process import dev as dev_process

    with end_at_signals(), show_progress("starting the stores") as display:
        raise SystemExit(
            asyncio.run(dev_process.run_dev(settings, data, display.report, display.close, with_auth=auth))
        )


@click.command()
@_host
@_port
@_insecure
def serve(host: str | None, port: int | None, insecure: bool) -> None:
    """Serve REST and WebSocket. Stops cleanly on SIGTERM."""
    settings = load_process_settings(host=host, port=port, insecure=insecure or None).refuse_unprotected_exposure()
    with end_at_signals():
        from synckairos.process import server

        run(server.serve(settings, on_ready=_print_ready_line))


@click.command()
@click.option(
    "--metrics-port",
    metavar="NUMBER",
    type=click.IntRange(0, 65535),
    help="Port for GET /metrics and GET /health (none). 0 selects a free port, which the log shows.",
)
@_host
@_insecure
def worker(metrics_port: int | None, host: str | None, insecure: bool) -> None:
    """Drain the outbox to Postgres, send webhooks and run background jobs. Stops cleanly on SIGTERM."""
    settings = load_process_settings(metrics_port=metrics_port, host=host, insecure=insecure or None)
    with end_at_signals():
        from synckairos.process import worker

        run(run_until_signal(worker.run_worker(settings)))


@click.command()
def migrate() -> None:
    """Update the schema of the database and print the applied migrations. Takes over a database of SyncKairos v2."""
    settings = load_command_settings()
    from synckairos.admin.from_v2 import take_over_and_migrate

    with show_progress("waiting for Postgres") as display:
        lines = run(take_over_and_migrate(settings, display))
    click.echo("\n".join(lines) if lines else "no migrations to apply", err=not lines)


@click.command()
@json_option("check")
def doctor(as_json: bool) -> None:
    """Check every dependency and setting, and print a remedy for each fault. Exits 1 if a check fails."""
    from synckairos.admin.check_result import render_check, render_check_json
    from synckairos.admin.doctor import run_checks

    checks = run_with_progress("checking the settings and the stores", run_checks())
    for check in checks:
        text = render_check_json(check) if as_json else render_check(check)
        click.echo(text if check.passed or as_json else click.style(text, fg="red"))
    if not all(check.passed for check in checks):
        raise SystemExit(ExitCode.NEGATIVE)


def _print_ready_line(url: str) -> None:
    click.echo(render_ready_line(url))
