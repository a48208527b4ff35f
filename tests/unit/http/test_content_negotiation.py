"""Selection of the media type by the Accept header."""

import pytest

from synckairos.http.content_negotiation import preferred_media_type

OFFERED = ("application/json", "text/csv", "application/x-ndjson", "text/event-stream")


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV; charset=utf-8", "text/csv"),
        ("text/*", "text/csv"),
        ("application/json;q=0.1, application/x-ndjson", "application/x-ndjson"),
        ("application/ndjson", "application/x-ndjson"),
        ("application/jsonl, application/json;q=0.5", "application/x-ndjson"),
        ("text/*;q=0.5, text/csv;q=0.1, text/event-stream;q=0.4", "text/event-stream"),
        ("text/html, */*;q=0.1", "application/json"),
        ("image/png", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=oops", "application/json"),
        (";;;,,q=1", "application/json"),
    ],
)
def test_offered_type_with_the_highest_quality_is_preferred(accept: str | None, preferred: str) -> None:
    assert preferred_media_type(accept, OFFERED) == preferred
