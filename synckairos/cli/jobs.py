"""Commands `synckairos jobs …`, which list, enqueue and retry background jobs."""

from typing import Any
from uuid import UUID

import click

from synckairos.cli.command import (
    CommandGroup,
    json_option,
    limit_option,
    load_command_settings,
    print_lines_with_progress,
    run,
    run_with_progress,
    tenant_option,
)
from synckairos.cli.escaped_echo import echo
from synckairos.cli.exit_codes import ExitCode
from synckairos.cli.progress import show_progress
from synckairos.config import Settings

_tenant_of_sessions = tenant_option("the sessions")


@click.group(cls=CommandGroup)
def jobs() -> None:
    """List, run and retry background jobs: archive, export, reconcile-members, retention. List deletions of tenants."""


JOB_TYPES = ("archive", "export", "retention", "reconcile-members", "delete-tenant")
"""Types of jobs. The module with these types is not imported here, because this would delay the start of commands."""

_as_json = json_option("job")
_wait = click.option("--wait", is_flag=True, help="Wait until the job ends. Exits 1 if it failed.")


@jobs.command("list")
@click.option(
    "--status", type=click.Choice(["queued", "running", "done", "failed"]), help="List only jobs with this status."
)
@click.option("--type", "type_", type=click.Choice(JOB_TYPES), help="List only jobs of this type.")
@limit_option("jobs", 50, 10_000)
@_as_json
def jobs_list(status: str | None, type_: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first."""
    settings = load_command_settings()
    from synckairos.admin import jobs as admin_jobs

    print_lines_with_progress(
        "reading the jobs",
        lambda _: admin_jobs.list_jobs(settings, status=status, type_=type_, limit=limit, as_json=as_json),
        empty="no jobs",
    )


@jobs.command("show")
@click.argument("job_id", metavar="ID", type=click.IntRange(1))
@_as_json
def jobs_show(job_id: int, as_json: bool) -> None:
    """Show all fields of job ID. Exits 1 if there is no such job."""
    settings = load_command_settings()
    from synckairos.admin import jobs as admin_jobs

    echo("\n".join(run_with_progress("reading the job", admin_jobs.show_job(settings, job_id, as_json=as_json))))


@jobs.command("retry")
@click.argument("job_id", metavar="ID", type=click.IntRange(1))
@_wait
def jobs_retry(job_id: int, wait: bool) -> None:
    """Retry the failed job ID. Exits 1 if job ID has not failed."""
    settings = load_command_settings()
    from synckairos.admin import jobs as admin_jobs

    run_with_progress("queueing the job", admin_jobs.retry_job(settings, job_id))
    _print_outcome(settings, job_id, wait)


@jobs.group("run", cls=CommandGroup)
def jobs_run() -> None:
    """Enqueue a job and print its id. A worker runs it."""


@jobs_run.command("archive")
@click.argument("session_id", metavar="[ID]", type=click.UUID, required=False)
@click.option(
    "--after",
    "after_s",
    type=click.IntRange(0),
    default=0,
    metavar="SECONDS",
    help="Only sessions that ended at least this many seconds ago.",
)
@_tenant_of_sessions
@_wait
def jobs_run_archive(session_id: UUID | None, after_s: int, tenant: str, wait: bool) -> None:
    """Archive the ended session ID, or all ended sessions of the tenant.

    Archives that are up to date are not written again.
    """
    enqueue_job("archive", _session_params(session_id, after_s), tenant, wait)


@jobs_run.command("retention")
@click.argument("session_id", metavar="[ID]", type=click.UUID, required=False)
@click.option(
    "--after",
    "after_s",
    type=click.IntRange(0),
    required=True,
    metavar="SECONDS",
    help="Only sessions that ended at least this many seconds ago.",
)
@_tenant_of_sessions
@_wait
def jobs_run_retention(session_id: UUID | None, after_s: int, tenant: str, wait: bool) -> None:
    """Archive the ended session ID, or all ended sessions of the tenant, and delete the Postgres rows.

    The archives are verified before.
    """
    enqueue_job("retention", _session_params(session_id, after_s), tenant, wait)


@jobs_run.command("export")
@click.option("--from", "from_", metavar="WHEN", required=True, help="Start: an instant, or a UTC day as 2026-01-31.")
@click.option(
    "--to", metavar="WHEN", required=True, help="End: an instant, which is excluded, or a UTC day, which is included."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["ndjson", "csv"]),
    default="ndjson",
    show_default=True,
    help="Format of the file.",
)
@click.option("--snapshots", is_flag=True, help="Include the session's document in each event.")
@tenant_option("the events")
@_wait
def jobs_run_export(from_: str, to: str, format_: str, snapshots: bool, tenant: str, wait: bool) -> None:
    """Write the events of all sessions of a tenant in a time range to one object in cold storage."""
    from synckairos.admin.jobs import parse_day_or_instant

    time_range = {"from": parse_day_or_instant(from_, "--from"), "to": parse_day_or_instant(to, "--to", end=True)}
    enqueue_job("export", {**time_range, "format": format_, "snapshots": snapshots}, tenant, wait)


@jobs_run.command("reconcile-members")
@tenant_option("the members")
@click.option(
    "--max-removed",
    "max_removed_percent",
    type=click.IntRange(0, 100),
    metavar="PERCENT",
    help="Maximum share of the members that may be removed. Default: SYNCKAIROS_MEMBERS_MAX_REMOVED_PERCENT.",
)
@_wait
def jobs_run_reconcile_members(tenant: str, max_removed_percent: int | None, wait: bool) -> None:
    """Make the members of a tenant equal to those at SYNCKAIROS_MEMBERS_URL."""
    params = {} if max_removed_percent is None else {"max_removed_percent": max_removed_percent}
    enqueue_job("reconcile-members", params, tenant, wait)


def _session_params(session_id: UUID | None, after_s: int) -> dict[str, Any]:
    return {"after_s": after_s} if session_id is None else {"session_id": str(session_id), "after_s": after_s}


def enqueue_job(type_: str, params: dict[str, Any], tenant: str, wait: bool) -> None:
    """Enqueue a job of a tenant and print its id.

    With `wait`, also wait for the end of the job, print its result, and exit with 1 if the job failed.
    """
    settings = load_command_settings()
    from synckairos.admin import jobs as admin_jobs

    enqueuing = admin_jobs.enqueue_job(settings, type_, params, tenant=tenant)
    _print_outcome(settings, run_with_progress("queueing the job", enqueuing), wait)


def _print_outcome(settings: Settings, job_id: int, wait: bool) -> None:
    """Print the id of an enqueued job.

    With `wait`, also wait for the end of the job, print the result of the job, and exit with 1 if the job failed.
    """
    from synckairos.admin import jobs as admin_jobs

    if not wait:
        echo(f"job {job_id} is queued")
        return
    with show_progress(f"job {job_id} is queued") as display:
        job = run(admin_jobs.wait_for_job_end(settings, job_id, display))
    echo(f"job {job_id} {'is done' if job.status == 'done' else 'failed'}: {admin_jobs.summarize_job_result(job)}")
    if job.status != "done":
        raise SystemExit(ExitCode.NEGATIVE)
