"""The fixed settings of a store, which never change: number of partitions, format, and hash tags of the partitions.

They are in the hash `Keys.fixed_settings`. `store_format.py` describes the format.
"""

from synckairos.errors import StoreMisconfigured, StoreMoved
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.move_record import COPYING_FIELD, INCOMPLETE, MOVED_FIELD, move_text
from synckairos.store.partition_tags import choose_balanced_tags
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.store_format import (
    CHOSEN_TAGS_FORMAT,
    FORMAT_FIELD,
    NUMBER_TAGS_FORMAT,
    STORE_FORMAT,
    newer_format_text,
    parse_format,
)


async def read_fixed_settings(pipe: RedisPipe, keys: Keys) -> Keys | None:
    """Return the keys of the store with the prefix of `keys`, by its stored settings. None if the store is new.

    One round trip.

    Raises:
        StoreMoved: the store has moved to another Redis.
        StoreMisconfigured: a newer release has written data that this release cannot read, a setting is invalid, or the
            store is an incomplete copy.
        StoreUnavailable: Redis does not answer.
    """
    with translated_errors():
        stored = await pipe.call(
            "HMGET", keys.fixed_settings, "partitions", FORMAT_FIELD, "tags", MOVED_FIELD, COPYING_FIELD
        )
    partitions, number, tags, moved, copying = stored
    if moved is not None:
        raise StoreMoved(move_text(moved), moved)
    if copying is not None:
        raise StoreMisconfigured(INCOMPLETE)
    if parse_format(number, keys) > STORE_FORMAT:
        raise StoreMisconfigured(f"{newer_format_text(parse_format(number, keys))}: run the newer release")
    return None if partitions is None else _parse_keys(keys, partitions, number, tags)


async def create_store(pipe: RedisPipe, keys: Keys) -> None:
    """Write the fixed settings of a store, unless it has settings. `keys` has the prefix and the number of partitions.

    A store with more than one partition gets balanced hash tags, if it has no data. Its format is then one that earlier
    releases refuse, because they would use the numbers of the partitions as hash tags.

    Raises: StoreUnavailable if Redis does not answer or accepts no writes.
    """
    is_balanced = keys.partitions > 1 and await _can_have_balanced_tags(pipe, keys)
    number = CHOSEN_TAGS_FORMAT if is_balanced else NUMBER_TAGS_FORMAT
    tags = " ".join(choose_balanced_tags(keys.partitions)) if is_balanced else ""
    with translated_errors():
        await LuaScript("store_create", uses_one_key=True)(pipe, [keys.fixed_settings], [keys.partitions, number, tags])


async def _can_have_balanced_tags(pipe: RedisPipe, keys: Keys) -> bool:
    """Return whether a store without fixed settings has no data, or data with balanced hash tags. One round trip.

    The settings can have been lost alone. A process of any release writes a generation for each partition.
    """
    balanced = Keys(keys.prefix, keys.partitions, choose_balanced_tags(keys.partitions))
    numbered = _generations(Keys(keys.prefix, keys.partitions))
    own = _generations(balanced) - numbered
    others = {*numbered, keys.running_releases, keys.instance_heartbeats, keys.control_position}
    names = [*own, *others]
    with translated_errors():
        exists = await pipe.call_many([("EXISTS", each) for each in names])
    found = {each for each, count in zip(names, exists, strict=True) if count}
    return not found or bool(found & own)


def _generations(keys: Keys) -> set[str]:
    return {keys.generation(partition) for partition in range(keys.partitions)}


def parse_partitions(stored: bytes, keys: Keys) -> int:
    """Return the number of partitions with which a store was created. `stored` is the value in `Keys.fixed_settings`.

    Raises: StoreMisconfigured if the value is not a number.
    """
    try:
        return int(stored)
    except ValueError:
        raise StoreMisconfigured(
            f"The field `partitions` of the key {keys.fixed_settings} is not a number; set the field to the number of "
            "partitions that this store was created with"
        ) from None


def _parse_keys(keys: Keys, partitions: bytes, number: bytes | None, tags: bytes | None) -> Keys:
    count = parse_partitions(partitions, keys)
    if parse_format(number, keys) < CHOSEN_TAGS_FORMAT:
        return Keys(keys.prefix, count)
    texts = tuple((tags or b"").decode(errors="replace").split(" "))
    if len(set(texts)) != count or not all(each.isdigit() for each in texts):
        raise StoreMisconfigured(
            f"The field `tags` of the key {keys.fixed_settings} does not have a number for each of the {count} "
            "partitions; restore the key from a backup"
        )
    return Keys(keys.prefix, count, texts)
