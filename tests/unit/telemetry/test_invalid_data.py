"""Invalid data is reported by the kind of its key, at most once per minute, and raised as one error."""

import pytest

from synckairos.errors import InvalidStoredData
from synckairos.telemetry.invalid_data import KINDS, redis_key_kind, reporting_invalid_data
from synckairos.telemetry.metrics import INVALID_STORED_DATA


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("sk:{0}:session:0190", "session"),
        ("sk:{0}:aside-lists:0190", "aside-lists"),
        ("sk:{0}:outbox:tally", "outbox"),
        ("sk:{presence}:told", "told"),
        ("sk:wake", "wake"),
        ("sk:drain-queue", "queue"),
        ("sk:drain-queue:kicked:0", "queue"),
        ("sync_events 0190", "sync_events"),
        (":presence:0190", "presence"),
        ("another", "other"),
        ("", "other"),
    ],
)
def test_kind_of_a_key_is_the_part_after_the_partition(key: str, kind: str) -> None:
    assert redis_key_kind(key) == kind
    assert kind in KINDS


def test_parsing_counts_invalid_data_and_raises_one_error() -> None:
    def count() -> float:
        return float(INVALID_STORED_DATA.labels("session")._value.get())

    before = count()
    with pytest.raises(InvalidStoredData), reporting_invalid_data("sk:{0}:session:1"):
        int("x")
    assert count() == before + 1


def test_parsing_passes_errors_that_are_not_about_data() -> None:
    with pytest.raises(OSError, match="disk"), reporting_invalid_data("sk:{0}:session:1"):
        raise OSError("disk")
