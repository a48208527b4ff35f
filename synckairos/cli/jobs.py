"""For whoever looks after background jobs: archives, exports, retention."""

from typing import Any

import click

from synckairos.cli.command import Group, command_settings, print_lines, run
from synckairos.config import Settings


@click.group(cls=Group)
def jobs() -> None:
    """Look after background jobs: archives, exports, retention."""


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, a line a job.")
_wait = click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 where it failed.")


@jobs.command("list")
@click.option("--status", type=click.Choice(["queued", "running", "done", "failed"]), help="Only these.")
@click.option("--type", "type_", type=click.Choice(["archive", "export", "retention"]), help="Only these.")
@click.option(
    "--limit", metavar="NUMBER", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many."
)
@_as_json
def jobs_list(status: str | None, type_: str | None, limit: int, as_json: bool) -> None:
    """List jobs, the newest first."""
    settings = command_settings()
    from synckairos.admin import jobs as admin_jobs

    run(print_lines(admin_jobs.list_jobs(settings, status=status, type_=type_, limit=limit, as_json=as_json)))


@jobs.command("show")
@click.argument("job_id", metavar="ID", type=int)
@_as_json
def jobs_show(job_id: int, as_json: bool) -> None:
    """Show all there is about job ID; exit code 1 where there is none."""
    settings = command_settings()
    from synckairos.admin import jobs as admin_jobs

    click.echo("\n".join(run(admin_jobs.show_job(settings, job_id, as_json=as_json))))


@jobs.command("retry")
@click.argument("job_id", metavar="ID", type=int)
@_wait
def jobs_retry(job_id: int, wait: bool) -> None:
    """Have job ID, which failed, tried again; exit code 1 where it didn't fail."""
    settings = command_settings()
    from synckairos.admin import jobs as admin_jobs

    run(admin_jobs.retry_job(settings, job_id))
    _queued(settings, job_id, wait)


@jobs.group("run", cls=Group)
def jobs_run() -> None:
    """Queue a job and print its id. Workers carry it out."""


@jobs_run.command("archive")
@click.argument("session_id", metavar="[ID]", required=False)
@click.option(
    "--after", "after_s", type=click.IntRange(0), default=0, metavar="SECONDS", help="Only what ended so long ago."
)
@_wait
def jobs_run_archive(session_id: str | None, after_s: int, wait: bool) -> None:
    """Put session ID, or all that are over, into cold storage; what is there in this version is left alone."""
    _queue("archive", _sessions(session_id, after_s), wait)


@jobs_run.command("retention")
@click.argument("session_id", metavar="[ID]", required=False)
@click.option(
    "--after", "after_s", type=click.IntRange(0), required=True, metavar="SECONDS", help="Only what ended so long ago."
)
@_wait
def jobs_run_retention(session_id: str | None, after_s: int, wait: bool) -> None:
    """Archive session ID, or all that ended so long ago, verify the archives, and delete the rows from Postgres."""
    _queue("retention", _sessions(session_id, after_s), wait)


@jobs_run.command("export")
@click.option("--from", "from_", metavar="WHEN", required=True, help="An instant, or a UTC day: 2026-01-31.")
@click.option("--to", metavar="WHEN", required=True, help="An instant, not included, or a UTC day, included.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    default="ndjson",
    show_default=True,
    help="How it is written.",
)
@click.option("--snapshots", is_flag=True, help="With the state each event led to.")
@_wait
def jobs_run_export(from_: str, to: str, form: str, snapshots: bool, wait: bool) -> None:
    """Write all sessions' events of a range into one object of cold storage."""
    from synckairos.admin.jobs import parse_range_bound

    span = {"from": parse_range_bound(from_, "--from"), "to": parse_range_bound(to, "--to", end=True)}
    _queue("export", {**span, "format": form, "snapshots": snapshots}, wait)


def _sessions(session_id: str | None, after_s: int) -> dict[str, Any]:
    return {"after_s": after_s} if session_id is None else {"session_id": session_id, "after_s": after_s}


def _queue(type_: str, params: dict[str, Any], wait: bool) -> None:
    settings = command_settings()
    from synckairos.admin import jobs as admin_jobs

    _queued(settings, run(admin_jobs.enqueue_job(settings, type_, params)), wait)


def _queued(settings: Settings, job_id: int, wait: bool) -> None:
    """Say which job was queued, and what came of it to somebody who waits."""
    from synckairos.admin import jobs as admin_jobs

    if not wait:
        click.echo(f"job {job_id} is queued")
        return
    job = run(admin_jobs.wait_for_end(settings, job_id))
    click.echo(f"job {job_id} {'is done' if job.status == 'done' else 'failed'}: {admin_jobs.summarize_result(job)}")
    raise SystemExit(0 if job.status == "done" else 1)
