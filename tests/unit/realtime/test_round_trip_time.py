"""Round-trip time: running mean, maximum of a sample, and ignored pongs."""

from synckairos.realtime.round_trip_time import MAX_SAMPLE_MS, RoundTripTime


def measured(*samples_ms: float) -> RoundTripTime:
    round_trip = RoundTripTime()
    for at_s, sample_ms in enumerate(samples_ms):
        round_trip.receive_pong(round_trip.make_ping_frame(at_s)[2:], at_s + sample_ms / 1000)
    return round_trip


def test_mean_is_unknown_before_the_first_pong() -> None:
    round_trip = RoundTripTime()
    assert round_trip.mean_ms is None
    assert round_trip.make_ping_frame(0.0)[:2] == b"\x89\x04"
    assert round_trip.mean_ms is None


def test_first_sample_is_the_mean_and_later_samples_count_a_tenth() -> None:
    assert measured(80).mean_ms == 80
    assert measured(100, 200).mean_ms == 110
    assert measured(80, 120, 120).mean_ms == 88
    assert measured(*[100] * 20, 300).mean_ms == 120
    assert measured(*[100] * 20, 300, *[100] * 30).mean_ms == 101


def test_delayed_pong_counts_as_the_maximum_sample() -> None:
    assert measured(60_000).mean_ms == MAX_SAMPLE_MS
    assert measured(50, 2_000).mean_ms == measured(50, 60_000).mean_ms == 245
    assert measured(*[50] * 10, 60_000).mean_ms == 45 + MAX_SAMPLE_MS // 10


def test_only_the_first_pong_of_the_open_ping_counts() -> None:
    round_trip = RoundTripTime()
    round_trip.receive_pong(b"", 0.5)
    ping = round_trip.make_ping_frame(1.0)
    assert round_trip.make_ping_frame(2.0) == b""
    for payload, at_s, known_ms in (
        (b"", 1.1, None),
        (b"nope", 1.2, None),
        (ping[2:], 1.25, 250),
        (ping[2:], 9.0, 250),
        (b"", 9.0, 250),
    ):
        round_trip.receive_pong(payload, at_s)
        assert round_trip.mean_ms == known_ms
    assert round_trip.make_ping_frame(3.0) not in (b"", ping)
