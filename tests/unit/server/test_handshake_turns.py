"""Turns of handshakes: one in each turn of the event loop."""

import asyncio
from functools import partial

from synckairos.server.handshake_turns import HandshakeTurns


async def test_each_turn_of_the_loop_runs_one_handshake_in_the_order_of_arrival() -> None:
    turns, done, seen = HandshakeTurns(), list[int](), list[int]()
    assert turns.try_begin(lambda: done.append(0))
    for number in (1, 2, 3):
        assert not turns.try_begin(partial(done.append, number))
    assert done == [], "the caller runs the first one"
    while len(done) < 3:
        await asyncio.sleep(0)
        seen.append(len(done))
    assert done == [1, 2, 3]
    assert seen == [1, 2, 3]


async def test_handshake_runs_at_once_in_a_later_turn() -> None:
    turns = HandshakeTurns()
    assert turns.try_begin(lambda: None)
    await asyncio.sleep(0)
    assert turns.try_begin(lambda: None)
