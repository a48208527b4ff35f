"""Cached looks at the stores."""

import asyncio

import pytest

from synckairos.http.cached_probe import FRESH_S, CachedProbe
from tests.background_task import start


async def test_calls_during_a_look_and_within_a_second_share_it() -> None:
    now_s, looks, release = 100.0, 0, asyncio.Event()

    async def look() -> int:
        nonlocal looks
        looks += 1
        await release.wait()
        return looks

    cached = CachedProbe(look, clock=lambda: now_s)
    calls = [await start(cached.get_or_run()) for _ in range(5)]
    release.set()
    assert await asyncio.gather(*calls) == [1] * 5
    now_s += FRESH_S - 0.01
    assert await cached.get_or_run() == 1
    now_s += 0.02
    assert await cached.get_or_run() == 2


async def test_error_of_a_look_is_shared_too_and_forgotten_after_a_second() -> None:
    now_s, looks = 100.0, 0

    async def look() -> int:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise OSError("no store")
        return looks

    cached = CachedProbe(look, clock=lambda: now_s)
    for _ in range(2):
        with pytest.raises(OSError, match="no store"):
            await cached.get_or_run()
    now_s += FRESH_S
    assert await cached.get_or_run() == 2


async def test_cancelled_call_does_not_stop_the_look_of_the_others() -> None:
    release = asyncio.Event()

    async def look() -> str:
        await release.wait()
        return "seen"

    cached = CachedProbe(look)
    first, second = await start(cached.get_or_run()), await start(cached.get_or_run())
    first.cancel()
    release.set()
    assert await second == "seen"
