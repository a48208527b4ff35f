"""Query strings: valid strings are parsed, invalid strings are refused with the path of the parameter."""

from typing import Any

import pytest

from synckairos.errors import ValidationFailed
from synckairos.wire.query_parameters import EventsQuery, ListQuery, ParticipantTimeQuery, ReadQuery, parse_query


def test_a_valid_query_string_is_parsed() -> None:
    assert parse_query(ReadQuery, b"").at is None
    assert parse_query(ReadQuery, b"at=1700000000000").at == 1_700_000_000_000
    assert parse_query(EventsQuery, b"snapshots=1&limit=7&cursor=abc") == EventsQuery(
        limit=7, cursor="abc", snapshots=True
    )
    assert parse_query(ListQuery, b"status=running").status == "running"
    report = parse_query(ParticipantTimeQuery, b"from=2026-01-01&to=2026-01-02&group_by=metadata.project%20x")
    assert (report.from_, report.to, report.tz, report.group_by) == (
        "2026-01-01", "2026-01-02", "UTC", "metadata.project x",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "query", "path"),
    [
        (ReadQuery, b"at=", "at"),
        (ReadQuery, b"at=-1", "at"),
        (ReadQuery, b"at=1.5", "at"),
        (ReadQuery, b"at=+1", "at"),
        (ReadQuery, b"at=1_0", "at"),
        (ReadQuery, b"at=%D9%A1", "at"),
        (ReadQuery, b"at=253402300800000", "at"),
        (ReadQuery, b"at=99999999999999999999999", "at"),
        (ReadQuery, b"at=1&at=2", "at"),
        (ReadQuery, b"at=%ff", "at"),
        (ListQuery, b"when=1", "when"),
        (ListQuery, b"limit=%ff", ""),
        (ListQuery, b"\xff", ""),
        (ListQuery, b"&".join(b"a=1" for _ in range(200)), ""),
        (ListQuery, b"limit=0", "limit"),
        (ListQuery, b"limit=201", "limit"),
        (ListQuery, b"status=gone", "status"),
        (ListQuery, b"cursor=", "cursor"),
        (EventsQuery, b"snapshots=maybe", "snapshots"),
        (ParticipantTimeQuery, b"bucket=year", "bucket"),
        (ParticipantTimeQuery, b"group_by=project", "group_by"),
    ],
)
def test_an_invalid_query_string_is_refused_with_the_path(model: type[Any], query: bytes, path: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_query(model, query)
    assert path in [fault["path"] for fault in refused.value.details]


@pytest.mark.parametrize(
    "query",
    [b"_=1700000000000", b"_=1&_=2", b"when", b"x=%ff&%ff=1", b"\xff", b"x=%00", b"&".join(b"a=1" for _ in range(200))],
)
def test_parameters_without_a_meaning_are_ignored_on_a_route_of_v2(query: bytes) -> None:
    assert parse_query(ReadQuery, query) == ReadQuery()
    assert parse_query(ReadQuery, query + b"&at=7").at == 7
    with pytest.raises(ValidationFailed):
        parse_query(ListQuery, query)
