"""Paths in cold storage: as in earlier releases in the default tenant, and in a folder for each other tenant."""

from datetime import UTC, datetime

import pytest

from synckairos.history.cold.tenant_folders import tenant_folder
from synckairos.jobs.ended_session_row import EndedSession

ID = "0190d0e2-7c6f-7000-8000-00000000000a"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
OLD_PATH = f"sessions/2026/01/31/{ID}/7-e1-e3b0c44298fc.ndjson.gz"


@pytest.mark.parametrize(
    ("tenant", "path"),
    [("default", OLD_PATH), ("acme", f"tenants/acme/{OLD_PATH}")],
    ids=["default", "another tenant"],
)
def test_path_of_an_archive_begins_with_the_folder_of_the_tenant(tenant: str, path: str) -> None:
    ended = EndedSession(tenant, ID, "e1", 7, "per_participant", "completed", NOON, NOON, deleted=False)
    assert ended.object_path(b"") == path
    assert ended.object_path(b"").startswith(tenant_folder(tenant))
