"""The shared connection to one node of a Redis Cluster."""

from dataclasses import replace
from typing import Protocol

from synckairos.store.cluster_slots import NodeAddress
from synckairos.store.shared_connection import RedisConnection, RedisPipe
from synckairos.telemetry.outages import StoreOutage
from synckairos.urls.redis_url import RedisAddress


class NodeOwner(Protocol):
    """The connections to a whole Cluster, as the connection to one node needs them."""

    outage: StoreOutage

    def note_node_connected(self) -> None:
        """Called when a connection to a node was opened."""

    def request_refresh(self) -> None:
        """Called when a connection to a node was lost."""


class ClusterNode(RedisPipe):
    """The shared connection to one node of a Cluster."""

    def __init__(self, cluster: NodeOwner, node: NodeAddress, address: RedisAddress, timeout_s: float) -> None:
        self._cluster = cluster
        self.node = node
        self._part = f"commands to {node[0]}:{node[1]}"
        super().__init__(replace(address, host=node[0], port=node[1], cluster_nodes=()), timeout_s)

    @property
    def open_connection(self) -> RedisConnection | None:
        """Return the connection if it is open."""
        connection = self._connection
        return None if connection is None or connection.lost.is_set() else connection

    @property
    def address(self) -> RedisAddress:
        """Return the address of the node with the credentials and TLS options of the Cluster."""
        return self._address

    @property
    def last_error(self) -> str:
        """Return the reason of the last failed attempt to connect."""
        return self._last_error

    @property
    def outage(self) -> StoreOutage:
        """Return the recorder of the failures of the whole Cluster."""
        return self._cluster.outage

    @outage.setter
    def outage(self, _: StoreOutage) -> None:
        pass

    def _note_connected(self) -> None:
        super()._note_connected()
        self._cluster.note_node_connected()

    def _note_lost(self) -> None:
        self._cluster.request_refresh()

    async def close_when_idle(self) -> None:
        """Wait until all commands have replies, which takes at most the timeout, then close the connection."""
        if (connection := self.open_connection) is not None:
            await connection.wait_for_replies()
        await self.__aexit__()
        self.outage.report_reachable(self._part)
