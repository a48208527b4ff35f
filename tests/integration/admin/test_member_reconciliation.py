"""The command `synckairos members reconcile`: a list in a file, a dry run, a confirmed removal, and a job for a URL."""

import io
from pathlib import Path

import pytest

from synckairos.admin.member_reconciliation import reconcile_members_with_file
from synckairos.admin.members import list_members
from synckairos.cli.exit_codes import ExitCode
from synckairos.config import Settings
from synckairos.errors import AuthenticationOff, SyncKairosError
from synckairos.members.source_rows import SourceIncomplete, SourceRefused
from tests.integration.admin.test_audit import run_command
from tests.integration.authentication import authentication_settings
from tests.integration.members.member_source import render_rows

CLASS = "label:class=7b"


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return authentication_settings(settings)


def render_list(*subjects: str) -> bytes:
    return render_rows((each, CLASS, "viewer") for each in subjects)


async def reconcile(
    settings: Settings, text: bytes, max_removed_percent: int | None = None, *, is_dry_run: bool = False
) -> dict[str, int]:
    """Reconcile the members of the tenant `acme`, and return the numbers that the command prints."""
    lines = await reconcile_members_with_file(
        settings, "acme", io.BytesIO(text), max_removed_percent, is_dry_run=is_dry_run
    )
    return {name: int(number) for name, number in (line.split() for line in lines)}


async def test_list_becomes_the_members_and_a_large_removal_must_be_confirmed(
    guarded: Settings, tmp_path: Path
) -> None:
    whole = {"rows": 2, "repeated": 0, "added": 2, "removed": 0, "changed": 0, "unchanged": 0}
    assert await reconcile(guarded, render_list("ada", "bob"), is_dry_run=True) == whole
    assert await reconcile(guarded, render_list("ada", "bob")) == whole
    (tmp_path / "members.ndjson").write_bytes(render_list("ada"))
    command = ("members", "reconcile", "--tenant", "acme", str(tmp_path / "members.ndjson"))
    code, lines = await run_command(guarded, *command)
    assert (code, len(lines)) == (ExitCode.NEGATIVE, 1)
    assert lines[0].endswith("reconcile again with a larger maximum")
    code, lines = await run_command(guarded, *command, "--max-removed", "50")
    assert (code, [line.split() for line in lines][4]) == (0, ["removed", "1"])
    assert [line async for line in list_members(guarded, "acme", {})] == [f"ada  {CLASS}  viewer"]


@pytest.mark.parametrize(
    ("text", "refusal", "message"),
    [
        (b"", SourceRefused, "The source has no rows"),
        (b'{"subject": "ada"}', SourceRefused, "line 1: Object missing required field"),
        (b'{"rows": 1}', SourceIncomplete, "its last line says 1"),
    ],
    ids=["empty", "invalid row", "wrong number"],
)
async def test_list_that_is_not_acceptable_changes_nothing(
    guarded: Settings, text: bytes, refusal: type[SyncKairosError], message: str
) -> None:
    with pytest.raises(refusal, match=message):
        await reconcile(guarded, text)
    assert [line async for line in list_members(guarded, "acme", {})] == []


async def test_list_at_a_url_is_left_to_a_worker(guarded: Settings) -> None:
    command = ("members", "reconcile", "--url", "--tenant", "acme", "--max-removed", "60")
    assert await run_command(guarded, *command) == (0, ["job 1 is queued"])
    _, lines = await run_command(guarded, "jobs", "show", "1")
    shown = {line.split()[0]: line.split()[1] for line in lines}
    assert (shown["type"], shown["tenant"], shown["params.max_removed_percent"]) == ("reconcile-members", "acme", "60")


async def test_command_is_refused_while_authentication_is_off(settings: Settings) -> None:
    with pytest.raises(AuthenticationOff):
        await reconcile(settings, render_list("ada"))
