"""Measuring the way to a client and back: what counts, what doesn't, and how soon it follows."""

from synckairos.realtime.round_trip_time import MOST_MS, RoundTripTime


def measured(*samples_ms: float) -> RoundTripTime:
    way = RoundTripTime()
    for at_s, sample_ms in enumerate(samples_ms):
        way.pong(way.ping(at_s)[2:], at_s + sample_ms / 1000)
    return way


def test_nothing_is_known_before_the_first_answer() -> None:
    way = RoundTripTime()
    assert way.lag_ms is None
    assert way.ping(0.0)[:2] == b"\x89\x04"
    assert way.lag_ms is None


def test_the_first_answer_counts_whole_and_later_ones_move_it_by_a_tenth() -> None:
    assert measured(80).lag_ms == 80
    assert measured(80, 120).lag_ms == 100
    assert measured(*[100] * 20, 300).lag_ms == 120
    assert measured(*[100] * 20, 300, *[100] * 30).lag_ms == 101


def test_a_delayed_answer_counts_as_the_longest_way_there_is() -> None:
    assert measured(60_000).lag_ms == MOST_MS
    assert measured(*[50] * 10, 60_000).lag_ms == 45 + MOST_MS // 10


def test_only_the_answer_to_the_ping_under_way_counts_and_once() -> None:
    way = RoundTripTime()
    way.pong(b"", 0.5)
    ping = way.ping(1.0)
    assert way.ping(2.0) == b""
    for payload, at_s, known_ms in (
        (b"", 1.1, None),
        (b"nope", 1.2, None),
        (ping[2:], 1.25, 250),
        (ping[2:], 9.0, 250),
        (b"", 9.0, 250),
    ):
        way.pong(payload, at_s)
        assert way.lag_ms == known_ms
    assert way.ping(3.0) not in (b"", ping)
