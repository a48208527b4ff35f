"""Pages of live tails: blocks of Server-Sent Events that several readers share."""

import orjson

from synckairos.history.records import TrailEvent
from synckairos.http.live_tail_page import BLOCK_BYTES, MAX_KEPT_BYTES, LiveTailPage


def page_of(events: int, document_bytes: int | None = None) -> LiveTailPage:
    document = None if document_bytes is None else orjson.dumps("x" * (document_bytes - 2))
    return LiveTailPage(
        [
            TrailEvent("e", version, "cycle_switched", version, actor="t/alice", document=document)
            for version in range(events)
        ]
    )


def versions_of(blocks: list[bytes]) -> list[int]:
    lines = b"".join(blocks).split(b"\n")
    return [orjson.loads(line.removeprefix(b"data: "))["version"] for line in lines if line.startswith(b"data: ")]


def test_readers_of_a_page_get_the_same_blocks() -> None:
    page = page_of(1000)
    first, second = (page.render_blocks(shows_actors=True) for _ in range(2))
    blocks = [next(first), next(second), *second]
    assert blocks[1] is blocks[0]
    assert list(first) == blocks[2:]
    assert all(len(block) >= BLOCK_BYTES for block in blocks[1:-1])
    assert versions_of(blocks[1:]) == list(range(1000))


def test_blocks_without_actors_are_rendered_for_their_own_readers() -> None:
    page = page_of(2)
    (shown,), (hidden,) = (list(page.render_blocks(shows_actors=shows)) for shows in (True, False))
    assert (shown.count(b"alice"), hidden.count(b"alice")) == (2, 0)
    (again,) = page.render_blocks(shows_actors=False)
    assert again is hidden


def test_a_page_keeps_no_more_than_its_first_blocks() -> None:
    page = page_of(8, document_bytes=BLOCK_BYTES)
    for _ in range(2):
        first, second = (list(page.render_blocks(shows_actors=True)) for _ in range(2))
        assert versions_of(first) == list(range(8))
        assert first == second
        kept = [block for block, same in zip(first, second, strict=True) if block is same]
        assert 0 < sum(map(len, kept)) <= MAX_KEPT_BYTES
        assert kept == first[: len(kept)]


def test_a_page_without_events_has_no_blocks() -> None:
    assert list(LiveTailPage([]).render_blocks(shows_actors=True)) == []
