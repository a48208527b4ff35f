"""Work of `synckairos store reshard-check`: the shares of the nodes of clusters of several sizes."""

from collections.abc import Sequence

from msgspec import Struct

from synckairos.config import Settings
from synckairos.store.connect import make_pipe
from synckairos.store.keys import Keys
from synckairos.store.partition_tags import choose_balanced_tags, count_partitions_by_node
from synckairos.store.store_settings import read_fixed_settings


class ClusterShares(Struct, frozen=True):
    """Shares of the primaries of a cluster with `nodes` primaries.

    `partitions_by_node` has the number of partitions of each primary, in the order of the slots. `busiest_share` is the
    largest of these numbers divided by their mean.
    """

    nodes: int
    partitions_by_node: list[int]
    busiest_share: float


async def check_shares(settings: Settings, sizes: Sequence[int]) -> list[ClusterShares]:
    """Return the shares for each number of primaries in `sizes`. For a new store, with the tags that it would get.

    Raises: StoreMisconfigured if its fixed settings are invalid, StoreUnavailable if Redis does not answer.
    """
    keys = Keys(settings.key_prefix, settings.partitions)
    async with make_pipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        stored = await read_fixed_settings(pipe, keys)
    if stored is not None:
        keys = stored
    elif keys.partitions > 1:
        keys = Keys(keys.prefix, keys.partitions, choose_balanced_tags(keys.partitions))
    return [_shares_of(keys.tags, nodes) for nodes in sizes]


def _shares_of(tags: Sequence[str], nodes: int) -> ClusterShares:
    counts = count_partitions_by_node(tags, nodes)
    return ClusterShares(nodes, counts, max(counts) * nodes / len(tags))
