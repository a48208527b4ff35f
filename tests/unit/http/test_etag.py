"""ETags by RFC 9110: weak comparison for If-None-Match, strong comparison for If-Match."""

import pytest

from synckairos.errors import ValidationFailed
from synckairos.http.etag import UNMATCHABLE, is_not_modified, parse_if_match, render_etag

TAG = '"7-abc"'


def test_etag_has_version_and_epoch() -> None:
    assert render_etag(7, "abc") == TAG


@pytest.mark.parametrize("header", ["*", TAG, f"W/{TAG}", f'"1-x", {TAG}', f'"a,b",{TAG} , "c"', " * "])
def test_if_none_match_with_the_etag_is_not_modified(header: str) -> None:
    assert is_not_modified(header, TAG)


@pytest.mark.parametrize("header", [None, "", '"7-abd"', "7-abc", '"8-abc"', "W/*"])
def test_if_none_match_without_the_etag_is_modified(header: str | None) -> None:
    assert not is_not_modified(header, TAG)


@pytest.mark.parametrize(
    ("header", "pairs"),
    [
        (None, []),
        ("*", []),
        (TAG, [(7, "abc")]),
        (f'{TAG}, "8-abc"', [(7, "abc"), (8, "abc")]),
        (f"W/{TAG}", [UNMATCHABLE]),
        (f'W/{TAG}, "8-x"', [(8, "x")]),
        ('"abc"', [UNMATCHABLE]),
        (f", {TAG},,", [(7, "abc")]),
        ('"٧-abc"', [UNMATCHABLE]),
        ('"99999999999999999999-abc"', [UNMATCHABLE]),
    ],
)
def test_if_match_allows_the_versions_that_it_lists(header: str | None, pairs: list[tuple[int, str]]) -> None:
    assert parse_if_match(header) == pairs


@pytest.mark.parametrize(
    "header",
    ["banana", "7-abc", "", ",", '"7-abc', "'7-abc'", f"{TAG} {TAG}", f"*, {TAG}", f"W/ {TAG}", f"{TAG}x", "W/7"],
)
def test_if_match_that_is_no_list_of_tags_is_refused(header: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_if_match(header)
    assert refused.value.details[0]["path"] == "If-Match"
