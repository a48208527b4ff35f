"""The commands `synckairos jobs …`: their output and their exit codes; and the metrics of jobs."""

import asyncio

import orjson
from prometheus_client import generate_latest

from synckairos.cli.exit_codes import ExitCode
from synckairos.config import Settings
from synckairos.jobs.metrics import JobGauges
from synckairos.jobs.table import ClaimedJob, JobTable
from tests.integration.admin.test_audit import run_command
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import finish_session
from tests.processes import Process

HEADER = "ID  TYPE     STATUS  ATTEMPTS  CREATED"


async def test_a_queued_job_is_listed_and_shown(settings: Settings, job_table: JobTable) -> None:
    assert await run_command(settings, "jobs", "list") == (0, ["no jobs"])
    day = ("--from", "2026-01-31", "--to", "2026-01-31", "--format", "csv")
    assert await run_command(settings, "jobs", "run", "export", *day) == (0, ["job 1 is queued"])
    unknown = "00000000-0000-4000-8000-000000000000"
    archive = ("jobs", "run", "archive", unknown, "--tenant", "acme")
    assert await run_command(settings, *archive) == (0, ["job 2 is queued"])
    (code, lines), (_, [only]), (_, [shown]) = await asyncio.gather(
        run_command(settings, "jobs", "list"),
        run_command(settings, "jobs", "list", "--type", "export", "--json"),
        run_command(settings, "jobs", "show", "1", "--json"),
    )
    assert code == 0
    assert lines[0].startswith(HEADER)
    assert [line.split()[:4] for line in lines[1:]] == [["2", "archive", "queued", "0"], ["1", "export", "queued", "0"]]
    assert only == shown
    span = {"from": "2026-01-31T00:00:00+00:00", "to": "2026-02-01T00:00:00+00:00"}
    assert orjson.loads(shown)["params"] == {**span, "format": "csv", "snapshots": False}
    code, lines = await run_command(settings, "jobs", "show", "2")
    assert code == 0
    shown_values = dict(line.split(maxsplit=1) for line in lines)
    assert (shown_values["params.session_id"], shown_values["tenant"]) == (unknown, "acme")


async def test_an_id_of_a_wrong_form_is_a_usage_error(settings: Settings) -> None:
    for command in ("archive", "retention"):
        code, lines = await run_command(settings, "jobs", "run", command, "no-uuid", "--after", "1")
        assert (code, lines[-1]) == (2, "Error: Invalid value for '[ID]': 'no-uuid' is not a valid UUID.")


async def test_an_impossible_command_prints_one_line_and_exits_with_the_code_of_its_fault(settings: Settings) -> None:
    for args, wanted, expected in (
        (("show", "7"), ExitCode.NEGATIVE, "no job 7"),
        (("retry", "7"), ExitCode.NEGATIVE, "no job 7"),
        (("run", "retention", "--after", "9" * 12), ExitCode.USAGE, "after_s: should be"),
        (
            ("run", "export", "--from", "yesterday", "--to", "2026-01-31"),
            ExitCode.USAGE,
            "--from: should be an instant",
        ),
        (("run", "export", "--from", "2026-01-31", "--to", "2026-01-30"), ExitCode.USAGE, "to: should be later"),
    ):
        code, lines = await run_command(settings, "jobs", *args)
        assert (code, len(lines)) == (wanted, 1), lines
        assert expected in lines[0]


async def test_wait_prints_the_result_and_exits_1_if_the_job_failed(audit: AuditParts, job_table: JobTable) -> None:
    life = await finish_session(audit.committer)
    await audit.drain()
    process = Process("worker", env=audit.settings.to_environment_variables())
    try:
        # A job that waits two seconds for the start of the worker would add a line of progress.
        process.wait_for_line(lambda line: "worker started" in line)
        code, (line,) = await run_command(audit.settings, "jobs", "run", "archive", life.session_id, "--wait")
        assert code == 0
        assert line.startswith("job 1 is done: ")
        unknown = "00000000-0000-4000-8000-000000000000"
        code, (line,) = await run_command(audit.settings, "jobs", "run", "archive", unknown, "--wait")
        assert code == 1
        assert line.startswith("job 2 failed: ")
        code, (line,) = await run_command(audit.settings, "jobs", "retry", "2", "--wait")
        assert code == 1
    finally:
        process.stop()
    code, (line,) = await run_command(audit.settings, "jobs", "retry", "1")
    assert code == 1
    assert "is done" in line
    _, lines = await run_command(audit.settings, "jobs", "list", "--status", "failed")
    assert [row.split()[:4] for row in lines[1:]] == [["2", "archive", "failed", "1"]]


async def test_jobs_and_attempts_are_in_the_metrics(job_table: JobTable) -> None:
    for _ in range(3):
        assert await job_table.add_unless_queued("archive", {}) is not None
    first = await job_table.claim_if_due(1, "worker-1", 30)
    assert isinstance(first, ClaimedJob)
    assert await job_table.complete(first, {})
    assert await job_table.claim_if_due(2, "worker-2", 0) is not None
    await job_table.end_abandoned_attempts()
    second = await job_table.claim_if_due(2, "worker-1", 30)
    assert second is not None
    assert await job_table.save_failed_attempt(second, "why", 0, for_good=True) == "failed"
    await JobGauges(job_table).refresh()
    text = generate_latest().decode()
    for line in (
        'synckairos_jobs{status="done",type="archive"} 1.0',
        'synckairos_jobs{status="failed",type="archive"} 1.0',
        'synckairos_jobs{status="queued",type="archive"} 1.0',
        'synckairos_job_attempts_total{outcome="died",type="archive"} 1.0',
        'synckairos_job_attempts_total{outcome="done",type="archive"} 1.0',
        'synckairos_job_attempts_total{outcome="failed",type="archive"} 1.0',
        'synckairos_job_seconds_total{outcome="done",type="archive"}',
        'synckairos_jobs_oldest_queued_seconds{type="archive"}',
    ):
        assert line in text
