"""Commands that run the processes of the product (`dev`, `serve`, `worker`), `migrate` and `doctor`."""

import asyncio
from pathlib import Path
from typing import Literal

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
from synckairos.config import Settings
from synckairos.process.ready_line import render_ready_line

MAX_PROCESSES = 64
"""Maximum number of processes of one command."""

_host = click.option("--host", metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
_port = click.option(
    "--port", metavar="NUMBER", type=click.IntRange(0, 65535), help="Port to listen on (3000). 0 selects a free port."
)
_insecure = click.option(
    "--insecure", is_flag=True, help="Allow a non-loopback address without authentication, and tokens over plain HTTP."
)


def _parse_processes(_: click.Context, __: click.Parameter, value: str) -> str:
    if value != "auto" and not (value.isdecimal() and 1 <= int(value) <= MAX_PROCESSES):
        raise click.BadParameter(f"should be auto or a number from 1 to {MAX_PROCESSES}")
    return value


_processes = click.option(
    "--processes",
    metavar="NUMBER",
    default="1",
    show_default=True,
    callback=_parse_processes,
    help="Number of processes that share the port and the work. auto: one for each processor.",
)
_group = click.option(
    "--group",
    type=click.Path(path_type=Path),
    hidden=True,
    help="Directory of the group of processes. The parent of several processes sets it.",
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
@_processes
@_group
def serve(host: str | None, port: int | None, insecure: bool, processes: str, group: Path | None) -> None:
    """Serve REST and WebSocket. Stops cleanly on SIGTERM."""
    settings = load_process_settings(host=host, port=port, insecure=insecure or None).refuse_unprotected_exposure()
    with end_at_signals():
        _run_supervisor("serve", settings, processes)
        from synckairos.process import server
        from synckairos.process.process_group import ProcessGroup

        member = None if group is None else ProcessGroup(group, "server")
        run(server.serve(settings, on_ready=_print_ready_line, group=member))


@click.command()
@click.option(
    "--metrics-port",
    metavar="NUMBER",
    type=click.IntRange(0, 65535),
    help="Port for GET /metrics and GET /health (none). 0 selects a free port, which the log shows.",
)
@_host
@_insecure
@_processes
@_group
def worker(metrics_port: int | None, host: str | None, insecure: bool, processes: str, group: Path | None) -> None:
    """Drain the outbox to Postgres, send webhooks and run background jobs. Stops cleanly on SIGTERM."""
    settings = load_process_settings(metrics_port=metrics_port, host=host, insecure=insecure or None)
    with end_at_signals():
        _run_supervisor("worker", settings, processes)
        from synckairos.process import worker
        from synckairos.process.process_group import ProcessGroup

        member = None if group is None else ProcessGroup(group, "worker")
        run(run_until_signal(worker.run_worker(settings, group=member)))


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


def _run_supervisor(command: Literal["serve", "worker"], settings: Settings, processes: str) -> None:
    """Run several processes of one kind, and end this process with their exit code. Return at once for one process."""
    from synckairos.process.supervisor import count_processors, supervise

    count = count_processors() if processes == "auto" else int(processes)
    if count > 1:
        raise SystemExit(run(supervise(command, settings, count)))


def _print_ready_line(url: str) -> None:
    click.echo(render_ready_line(url))
