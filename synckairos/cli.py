"""The commands. Each reads its settings, sets the log up and hands over; none does the work itself.

What a command runs is imported when it runs, so that `--help` is quick and `worker` needs no web server.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from uuid import UUID

import click
import psycopg

from synckairos import __version__, alarm, config, log
from synckairos.config import Settings
from synckairos.errors import StoreUnavailable, SyncKairosError, ValidationFailed
from synckairos.ready import render_ready

Result = TypeVar("Result")


class _Commands(click.Group):
    """Turns every named error into its own clear lines and exit code 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SyncKairosError as error:
            told = error.message
            if isinstance(error, ValidationFailed):
                told = "\n".join(f"{fault['path']}: {fault['message']}" for fault in error.details)
            cause = error.__cause__ if isinstance(error, StoreUnavailable) else None
            if cause is not None and not isinstance(cause, psycopg.ProgrammingError):
                told = _away(cause)
        except psycopg.OperationalError as error:
            told = _away(error)
        click.echo(told, err=True)
        raise SystemExit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="synckairos")
def main() -> None:
    """State server for timed, shared sessions."""


@main.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (3000); 0 takes a free one.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the stores' data here.")
@click.option("--insecure", is_flag=True, help="Listen beyond loopback although everybody may do everything.")
def dev(host: str | None, port: int | None, data: Path | None, insecure: bool) -> None:
    """Run everything here: own Valkey and Postgres, server and worker. Reads .env. Ctrl-C ends all of it."""
    settings = _settings(Path(".env"), host=host, port=port, insecure=insecure or None, dev=True).refuse_exposure()
    from synckairos import dev as everything

    raise SystemExit(asyncio.run(everything.run(settings, data)))


@main.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (3000); 0 takes a free one.")
@click.option("--insecure", is_flag=True, help="Listen beyond loopback although everybody may do everything.")
def serve(host: str | None, port: int | None, insecure: bool) -> None:
    """Serve REST and WebSocket. Stops cleanly on SIGTERM."""
    settings = _settings(host=host, port=port, insecure=insecure or None).refuse_exposure()
    from synckairos import app

    _run(app.serve(settings, on_ready=_say_ready))


@main.command()
def worker() -> None:
    """Move what happened from the outbox to Postgres, and send webhooks. Stops cleanly on SIGTERM."""
    settings = _settings()
    from synckairos import working

    _run(_until_told(working.run(settings)))


@main.command()
def migrate() -> None:
    """Bring the database's schema up to date, and say what was applied."""
    settings = _settings()
    from synckairos.audit.migrate import migrate as apply

    applied = _run(apply(settings.database_url))
    click.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do")


@main.command()
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON, as POST /v1/simulate would.")
def simulate(file: BinaryIO, as_json: bool) -> None:
    """Play a session through without a store: FILE holds what POST /v1/simulate takes; - reads standard input."""
    from synckairos import simulating

    for line in simulating.lines(file.read(), as_json=as_json):
        click.echo(line)


@main.group()
def session() -> None:
    """Look at one session."""


@session.command("watch")
@click.argument("session_id", metavar="ID", type=click.UUID)
@click.option("--url", default="ws://127.0.0.1:3000/ws", show_default=True, help="The server's address.")
def session_watch(session_id: UUID, url: str) -> None:
    """Show the clocks of session ID, live, until it ends or Ctrl-C."""
    from synckairos.client import terminal
    from synckairos.client.address import socket_url

    try:
        url = socket_url(url)
    except ValueError as fault:
        raise click.BadParameter(str(fault), param_hint="--url") from None
    _run(_until_told(terminal.show(url, str(session_id), sys.stdout)))


@main.group()
def audit() -> None:
    """Look after what Postgres refused."""


@audit.command("failed")
def audit_failed() -> None:
    """List the entries that were set aside; exit code 1 where there are any."""
    settings = _settings()
    from synckairos import operating

    lines = _run(operating.failed(settings))
    click.echo("\n".join(lines) or "nothing was set aside")
    raise SystemExit(1 if lines else 0)


@audit.command("retry")
@click.argument("entry", required=False)
@click.option("--all", "everything", is_flag=True, help="All that were set aside.")
def audit_retry(entry: str | None, everything: bool) -> None:
    """Have ENTRY, or --all, tried again with a fresh schedule: by the next sweep of a worker."""
    if (entry is None) is not everything:
        raise click.UsageError("Name one ENTRY, or say --all.")
    settings = _settings()
    from synckairos import operating

    sent = _run(operating.retry(settings, entry))
    click.echo(f"{sent} {'entry' if sent == 1 else 'entries'} will be tried again" if sent else "nothing was set aside")


@main.group()
def jobs() -> None:
    """Look after background jobs: archives, exports, retention."""


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, a job a line.")
_wait = click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 where it failed.")


@jobs.command("list")
@click.option("--status", type=click.Choice(["queued", "running", "done", "failed"]), help="Only these.")
@click.option("--type", "type_", metavar="TYPE", help="Only archive, export or retention.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@_as_json
def jobs_list(status: str | None, type_: str | None, limit: int, as_json: bool) -> None:
    """List jobs, the newest first."""
    settings = _settings()
    from synckairos import jobs as board

    _run(_tell(board.listed(settings, status=status, type_=type_, limit=limit, as_json=as_json)))


@jobs.command("show")
@click.argument("job_id", metavar="ID", type=int)
@_as_json
def jobs_show(job_id: int, as_json: bool) -> None:
    """Show all there is about job ID; exit code 1 where there is none."""
    settings = _settings()
    from synckairos import jobs as board

    click.echo("\n".join(_run(board.show(settings, job_id, as_json=as_json))))


@jobs.command("retry")
@click.argument("job_id", metavar="ID", type=int)
@_wait
def jobs_retry(job_id: int, wait: bool) -> None:
    """Have job ID, which failed, tried again; exit code 1 where it didn't fail."""
    settings = _settings()
    from synckairos import jobs as board

    _run(board.retry(settings, job_id))
    _queued(settings, job_id, wait)


@jobs.group("run")
def jobs_run() -> None:
    """Queue a job and print its id. Workers carry it out."""


@jobs_run.command("archive")
@click.argument("session_id", metavar="[ID]", required=False)
@click.option("--after", "after_s", type=click.IntRange(0), default=0, metavar="SECONDS", help="Ended so long ago.")
@_wait
def jobs_run_archive(session_id: str | None, after_s: int, wait: bool) -> None:
    """Put session ID, or all that are over, into cold storage; what is there in this version is left alone."""
    _queue("archive", _sessions(session_id, after_s), wait)


@jobs_run.command("retention")
@click.argument("session_id", metavar="[ID]", required=False)
@click.option("--after", "after_s", type=click.IntRange(0), required=True, metavar="SECONDS", help="Ended so long ago.")
@_wait
def jobs_run_retention(session_id: str | None, after_s: int, wait: bool) -> None:
    """Archive session ID, or all that ended so long ago, verify the archives, and delete the rows from Postgres."""
    _queue("retention", _sessions(session_id, after_s), wait)


@jobs_run.command("export")
@click.option("--from", "from_", metavar="WHEN", required=True, help="An instant, or a UTC day: 2026-01-31.")
@click.option("--to", metavar="WHEN", required=True, help="An instant, not included, or a UTC day, included.")
@click.option("--format", "form", type=click.Choice(["ndjson", "csv"]), default="ndjson", show_default=True)
@click.option("--snapshots", is_flag=True, help="With the state each event led to.")
@_wait
def jobs_run_export(from_: str, to: str, form: str, snapshots: bool, wait: bool) -> None:
    """Write all sessions' events of a range into one object of cold storage."""
    from synckairos.jobs import instant

    span = {"from": instant(from_, "--from"), "to": instant(to, "--to", end=True)}
    _queue("export", {**span, "format": form, "snapshots": snapshots}, wait)


@main.group()
def webhooks() -> None:
    """Say who is told of what happens, and see how that goes."""


@webhooks.command("add")
@click.argument("url")
@click.option("--event", "events", multiple=True, metavar="TYPE", help="Only this type of event; may be repeated.")
@click.option("--description", default="", help="What it is for.")
@click.option("--snapshots", is_flag=True, help="Send the session along, as each event left it.")
def webhooks_add(url: str, events: tuple[str, ...], description: str, snapshots: bool) -> None:
    """Have URL told of what happens. Prints its id, and the secret that signs: the only time it is told."""
    settings = _settings()
    from synckairos.webhooks import telling

    asked = {"url": url, "description": description, "snapshots": snapshots}
    asked |= {"event_types": list(events)} if events else {}
    click.echo("\n".join(_run(telling.add(settings, asked))))


@webhooks.command("list")
def webhooks_list() -> None:
    """List who is told of what."""
    settings = _settings()
    from synckairos.webhooks import telling

    click.echo("\n".join(_run(telling.listed(settings))) or "nobody is told")


@webhooks.command("remove")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
def webhooks_remove(webhook_id: UUID) -> None:
    """Tell ID no more, and forget what it was told."""
    settings = _settings()
    from synckairos.webhooks import telling

    _run(telling.remove(settings, str(webhook_id)))


@webhooks.command("rotate")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@click.option("--overlap", default=86_400, show_default=True, type=click.IntRange(0), help="Seconds both sign.")
def webhooks_rotate(webhook_id: UUID, overlap: int) -> None:
    """Replace the secret of ID and print the new one: the only time it is told."""
    settings = _settings()
    from synckairos.webhooks import telling

    click.echo(_run(telling.rotate(settings, str(webhook_id), overlap)))


@webhooks.command("deliveries")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@click.option("--status", type=click.Choice(["pending", "delivered", "failed"]), help="Only these.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
def webhooks_deliveries(webhook_id: UUID, status: str | None, limit: int) -> None:
    """Show what ID was told, newest first, and how each try went."""
    settings = _settings()
    from synckairos.webhooks import telling

    click.echo("\n".join(_run(telling.deliveries(settings, str(webhook_id), status, limit))) or "nothing")


@webhooks.command("test")
@click.argument("webhook_id", metavar="ID", type=click.UUID)
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(0, min_open=True))
def webhooks_test(webhook_id: UUID, timeout: float) -> None:
    """Have a worker send ID a test message, and say how that went; exit code 1 where it wasn't accepted."""
    settings = _settings()
    from synckairos.webhooks import telling

    click.echo("\n".join(_run(telling.test(settings, str(webhook_id), timeout))))


@main.command("verify-audit")
@click.argument("session_id", metavar="ID", required=False)
@click.option("--all", "everything", is_flag=True, help="Every session there is.")
def verify_audit(session_id: str | None, everything: bool) -> None:
    """Replay the audit of session ID, or --all, through the engine and compare byte for byte; exit code 1 on a fault.

    Only reads, and only Postgres: what is still on its way there isn't looked at.
    """
    if (session_id is None) is not everything:
        raise click.UsageError("Name one ID, or say --all.")
    settings = _settings()
    from synckairos import operating

    _run(_tell(operating.verify(settings, session_id)))


@main.command()
def doctor() -> None:
    """Check every dependency and setting, and say what is wrong and how to mend it."""
    from synckairos import doctor as checks

    findings = _run(checks.examine())
    for finding in findings:
        click.echo(checks.render(finding))
    raise SystemExit(0 if all(finding.fine for finding in findings) else 1)


def _away(cause: BaseException) -> str:
    """Tell which store doesn't answer, why, and what to do about it."""
    name = "DATABASE_URL" if isinstance(cause, psycopg.Error) else "REDIS_URL"
    why = config.redact((str(cause).strip() or type(cause).__name__).splitlines()[0])
    return f"{name}: {why}; start it, or say where it is (`synckairos doctor` checks everything)"


def _say_ready(url: str) -> None:
    click.echo(render_ready(url))


def _sessions(session_id: str | None, after_s: int) -> dict[str, Any]:
    return {"after_s": after_s} if session_id is None else {"session_id": session_id, "after_s": after_s}


def _queue(type_: str, params: dict[str, Any], wait: bool) -> None:
    settings = _settings()
    from synckairos import jobs as board

    _queued(settings, _run(board.run(settings, type_, params)), wait)


def _queued(settings: Settings, job_id: int, wait: bool) -> None:
    """Say which job was queued, and what came of it to somebody who waits."""
    from synckairos import jobs as board

    if not wait:
        click.echo(f"job {job_id} is queued")
        return
    job = _run(board.outcome(settings, job_id))
    click.echo(f"job {job_id} {'is done' if job.status == 'done' else 'failed'}: {board.summary(job)}")
    raise SystemExit(0 if job.status == "done" else 1)


async def _tell(lines: AsyncIterator[str]) -> None:
    async for line in lines:
        click.echo(line)


def _settings(env_file: Path | None = None, **options: Any) -> Settings:
    """Load settings, options that were given before everything else, and set the log up."""
    settings = config.load(env_file, **{name: value for name, value in options.items() if value is not None})
    log.configure(settings.log_level, dev=settings.dev)
    dsn = settings.sentry_dsn
    alarm.configure(settings.alarm_webhook_url, None if dsn is None else dsn.get_secret_value())
    return settings


def _run(job: Coroutine[Any, Any, Result]) -> Result:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(job)


async def _until_told(job: Coroutine[Any, Any, None]) -> None:
    """Run `job` until it ends, cancelling it on SIGTERM or Ctrl-C: a clean end, not a failure."""
    task = asyncio.ensure_future(job)
    told = asyncio.Event()

    def stop() -> None:
        told.set()
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not told.is_set():
            raise
