"""The download of members from an HTTP source: a complete answer is read, and every other answer changes nothing."""

from typing import Any

import pytest
from pydantic import SecretStr

from synckairos.config import Settings
from synckairos.members.source_download import MemberSourceDownload, read_file
from synckairos.members.source_rows import SourceIncomplete, SourceRefused, SourceRows
from synckairos.webhooks.address_guard import AddressGuard
from tests.integration.members.member_source import MemberSource, make_download, render_rows
from tests.ports import free_port

ROWS = [(f"subject-{number}", "label:class=7b", "viewer") for number in range(1000)]
MANY = 1 << 20


async def read(download: MemberSourceDownload, *, tenant: str = "acme", max_bytes: int = MANY) -> int:
    """Return the number of rows that a download reads."""
    with SourceRows(tenant, max_bytes) as rows:
        await download.read(tenant, rows)
        return rows.count


async def refusal(source: MemberSource, **options: Any) -> str:
    with pytest.raises(SourceRefused) as caught:
        await read(make_download(source.url), **options)
    return str(caught.value.report["refused"])


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_complete_answer_is_read_with_the_token_and_for_the_tenant(source: MemberSource, framing: Any) -> None:
    source.publish(ROWS)
    source.framing = framing
    settings = Settings(members_url=source.url, members_token="s3cret", members_allowed_networks=["127.0.0.0/8"])
    download = MemberSourceDownload.from_settings(settings)
    assert download is not None
    assert await read(download) == 1000
    (request,) = source.requests
    assert request.startswith("GET /members?of=acme HTTP/1.1\r\n")
    assert "\r\nauthorization: bearer s3cret\r\n" in request.lower()
    assert "\r\naccept-encoding: identity\r\n" in request.lower()


def test_there_is_no_download_without_a_url() -> None:
    assert MemberSourceDownload.from_settings(Settings(members_token=SecretStr("s3cret"))) is None


@pytest.mark.parametrize("framing", ["length", "chunked", "until closed"])
async def test_connection_that_is_cut_at_the_end_of_a_row_makes_the_source_incomplete(
    source: MemberSource, framing: Any
) -> None:
    source.publish(ROWS)
    source.framing = framing
    source.sent_bytes = source.body.index(b"\n", len(source.body) // 2) + 1
    with pytest.raises(SourceIncomplete):
        await read(make_download(source.url))


async def test_answer_without_a_length_is_read_if_its_last_line_has_the_number_of_rows(source: MemberSource) -> None:
    source.body = render_rows(ROWS) + b'{"rows": 1000}\n'
    source.framing = "until closed"
    assert await read(make_download(source.url)) == 1000


async def test_slow_source_is_incomplete_after_the_time_limit(source: MemberSource) -> None:
    source.publish(ROWS)
    source.may_end.clear()
    with pytest.raises(SourceIncomplete, match=r"did not end within 0\.1 s"):
        await read(make_download(source.url, timeout_s=0.1))


async def test_redirect_is_not_followed(source: MemberSource) -> None:
    source.status, source.headers = "302 Found", ["Location: /elsewhere"]
    assert await refusal(source) == "redirect"
    assert len(source.requests) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_answer_that_is_too_large_is_refused(source: MemberSource, framing: Any) -> None:
    source.publish(ROWS)
    source.framing = framing
    assert await refusal(source, max_bytes=len(source.body) - 1) == "too_large"


async def test_announced_length_that_is_too_large_is_refused_before_the_body_is_read(source: MemberSource) -> None:
    source.publish(ROWS)
    source.may_end.clear()
    assert await refusal(source, max_bytes=len(source.body) - 1) == "too_large"


async def test_compressed_answer_is_refused(source: MemberSource) -> None:
    source.publish(ROWS)
    source.headers = ["Content-Encoding: gzip"]
    assert await refusal(source) == "encoding"


@pytest.mark.parametrize(
    ("status", "can_be_retried"), [(204, False), (401, False), (404, False), (429, True), (503, True)]
)
async def test_answer_with_another_status_than_200_has_no_rows(
    source: MemberSource, status: int, can_be_retried: bool
) -> None:
    source.status = f"{status} So"
    expected = SourceIncomplete if can_be_retried else SourceRefused
    with pytest.raises(expected, match=str(status)):
        await read(make_download(source.url))


async def test_source_without_a_server_is_incomplete() -> None:
    with pytest.raises(SourceIncomplete):
        await read(make_download(f"http://127.0.0.1:{free_port()}/"))


async def test_private_address_is_refused_before_a_connection(source: MemberSource) -> None:
    download = make_download(source.url, guard=AddressGuard(http=True))
    with pytest.raises(SourceRefused, match="SYNCKAIROS_MEMBERS_URL is not allowed"):
        await read(download)
    assert source.requests == []


async def test_file_is_read_to_its_end(tmp_path: Any) -> None:
    (tmp_path / "members.ndjson").write_bytes(render_rows(ROWS))
    with SourceRows("acme", MANY) as rows, (tmp_path / "members.ndjson").open("rb") as file:
        await read_file(file, rows)
        assert rows.count == 1000
