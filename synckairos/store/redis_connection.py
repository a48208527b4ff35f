"""Single connections of redis-py to one server, without a pool: plain, TLS or Unix socket."""

from typing import Any

from redis.asyncio.connection import Connection, RedisSSLContext, SSLConnection, UnixDomainSocketConnection

from synckairos.urls.redis_url import RedisAddress, TlsOptions


def server_options(address: RedisAddress, timeout_s: float) -> dict[str, Any]:
    """Return the keyword arguments of a redis-py connection pool for the server at an address, without its sentinels.

    `timeout_s` is the maximum number of seconds for connecting, and for each reply.
    """
    options: dict[str, Any] = {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "socket_connect_timeout": timeout_s,
        "socket_timeout": timeout_s,
        "protocol": 2,
        # With a library name, each connection sends CLIENT SETINFO. That command needs a permission and fails before
        # Redis 7.2.
        "lib_name": None,
        "lib_version": None,
    }
    if address.path is not None:
        return options | {"connection_class": UnixDomainSocketConnection, "path": address.path}
    options |= {"host": address.host, "port": address.port, "socket_keepalive": True}
    if address.tls is not None:
        return options | {"connection_class": TlsConnection, "tls": address.tls}
    return options | {"connection_class": Connection}


def open_connection(address: RedisAddress, timeout_s: float) -> Connection:
    """Return a new redis-py connection to a server. It is not connected yet. `timeout_s` as in `server_options`."""
    options = server_options(address, timeout_s)
    connection: Connection = options.pop("connection_class")(**options)
    return connection


class TlsConnection(SSLConnection):
    """A redis-py connection that reads its TLS options from the URL, in the same way as the shared connection does."""

    def __init__(self, *, tls: TlsOptions, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context = _TlsContext(tls)


class _TlsContext(RedisSSLContext):
    def __init__(self, tls: TlsOptions) -> None:
        super().__init__()
        self._tls = tls

    def get(self) -> Any:
        return self._tls.build_context()
