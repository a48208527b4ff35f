"""Number of the format of the data in Redis, so that a process does not use the data of a release that it cannot read.

A release that writes data which the release before it cannot read raises the number, as the last step of an upgrade.
From then on, processes of earlier releases do not start on the store, and running ones are not ready.
"""

from synckairos.errors import StoreMisconfigured
from synckairos.store.keys import Keys
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe

STORE_FORMAT = 2
"""Highest number of a format that this release reads."""

NUMBER_TAGS_FORMAT = 1
"""Number of the format of a store whose hash tags are the numbers of the partitions, also if no number is stored."""

CHOSEN_TAGS_FORMAT = 2
"""Number of the format of a store with recorded hash tags, which earlier releases do not read."""

FORMAT_FIELD = "format"
"""Field of the number in the hash `Keys.fixed_settings`."""


def parse_format(stored: bytes | None, keys: Keys) -> int:
    """Return the number of the format of a store. `stored` is the value of the field, None if it is missing.

    Raises: StoreMisconfigured if the value is not a number.
    """
    try:
        return NUMBER_TAGS_FORMAT if stored is None else int(stored)
    except ValueError:
        raise StoreMisconfigured(
            f"The field `{FORMAT_FIELD}` of the key {keys.fixed_settings} is not a number; remove the field, or set it "
            "to the number that the newest release on this store has written"
        ) from None


def newer_format_text(number: int) -> str:
    """Return the text of a refusal of a store whose format is newer than this release."""
    return f"The store has the format {number} of a newer release; this release reads formats up to {STORE_FORMAT}"


async def has_newer_format(pipe: RedisPipe, keys: Keys) -> bool:
    """Return whether the format of the store is newer than this release. One round trip.

    A value that is not a number counts as newer.

    Raises: StoreUnavailable if Redis does not answer.
    """
    with translated_errors():
        stored: bytes | None = await pipe.call("HGET", keys.fixed_settings, FORMAT_FIELD)
    try:
        return parse_format(stored, keys) > STORE_FORMAT
    except StoreMisconfigured:
        return True
