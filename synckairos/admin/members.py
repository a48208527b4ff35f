"""Implementation of the commands `synckairos members …`. Results are lines of text."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from msgspec.structs import asdict

from synckairos.admin.control_channel import open_control_channel
from synckairos.config import Settings
from synckairos.errors import ValidationFailed
from synckairos.members.member_changes import MemberChanges
from synckairos.members.table import Member, MemberTable
from synckairos.store.connect import check_store_settings, make_pipe
from synckairos.store.keys import Keys
from synckairos.store.member_copies import MemberCopies
from synckairos.wire.body_parser import parse_body
from synckairos.wire.members import MAX_BULK_ROWS, DeleteMemberQuery, MemberRow, MembersQuery

_PAGE_SIZE = 200


async def list_members(
    settings: Settings, tenant: str, filters: Mapping[str, str], *, as_json: bool = False
) -> AsyncIterator[str]:
    """Yield one line of text for each member of a tenant, by subject and resource. If `as_json` is True, it is JSON.

    `filters` are `subject` and `resource`, both optional.

    Raises: ValidationFailed, AuthenticationOff, StoreUnavailable.
    """
    query = parse_body(MembersQuery, dict(filters))
    async with open_control_channel(settings) as (_, pool):
        cursor = None
        while True:
            page = await MemberTable(pool).read_page(
                tenant, subject=query.subject, resource=query.resource, cursor=cursor, limit=_PAGE_SIZE
            )
            for each in page.items:
                yield orjson.dumps(asdict(each)).decode() if as_json else "  ".join(asdict(each).values())
            cursor = page.next_cursor
            if cursor is None:
                return


async def put_member(settings: Settings, tenant: str, fields: Mapping[str, str]) -> None:
    """Give a subject a role on a resource. `fields` are the fields of `MemberRow`.

    Raises: ValidationFailed, AuthenticationOff, StoreUnavailable, TooManyMembers.
    """
    row = _parse_row(fields)
    async with open_member_changes(settings) as changes:
        await changes.put(tenant, [row])


async def delete_member(settings: Settings, tenant: str, fields: Mapping[str, str]) -> None:
    """Remove the role of a subject on a resource. `fields` are the fields of `DeleteMemberQuery`.

    Raises: ValidationFailed, AuthenticationOff, StoreUnavailable.
    """
    row = parse_body(DeleteMemberQuery, dict(fields))
    async with open_member_changes(settings) as changes:
        await changes.delete(tenant, row.subject, row.resource)


async def import_members(settings: Settings, tenant: str, file: Path) -> int:
    """Put the rows of a file: JSON objects with the fields of `MemberRow`, one on each line. Return their number.

    All lines are checked before the first row is put. Then 10,000 rows are put at a time, each time all or none.

    Raises: ValidationFailed with the number of the first invalid line, AuthenticationOff, StoreUnavailable,
        TooManyMembers.
    """
    rows: dict[tuple[str, str], Member] = {}
    for number, line in _read_lines(file):
        try:
            value = orjson.loads(line)
            row = _parse_row(value if isinstance(value, dict) else {})
        except orjson.JSONDecodeError:
            raise ValidationFailed.at_path(f"line {number}", "should be a JSON object") from None
        except ValidationFailed as fault:
            raise ValidationFailed.at_path(f"line {number}", fault.message) from None
        if (row.subject, row.resource) in rows:
            raise ValidationFailed.at_path(f"line {number}", "should not name a subject and resource again")
        rows[row.subject, row.resource] = row
    members = list(rows.values())
    async with open_member_changes(settings) as changes:
        for start in range(0, len(members), MAX_BULK_ROWS):
            await changes.put(tenant, members[start : start + MAX_BULK_ROWS])
    return len(members)


@asynccontextmanager
async def open_member_changes(settings: Settings) -> AsyncIterator[MemberChanges]:
    """Open the changes of members for the block, with connections of their own.

    Raises: AuthenticationOff while authentication is off. StoreUnavailable.
    """
    async with (
        open_control_channel(settings) as (channel, pool),
        make_pipe(settings.redis_url, settings.redis_timeout_s) as pipe,
    ):
        keys = await check_store_settings(pipe, Keys(settings.key_prefix, settings.partitions))
        copies = MemberCopies(pipe, keys)
        yield MemberChanges(MemberTable(pool), copies, channel)


def _read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not empty. The first line has the number 1."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line


def _parse_row(fields: Mapping[str, Any]) -> Member:
    row = parse_body(MemberRow, dict(fields))
    return Member(row.subject, row.resource, row.role)
