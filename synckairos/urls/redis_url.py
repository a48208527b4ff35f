"""Parser of Redis URLs. Every connection to Redis and every check of a Redis URL uses it.

redis-py also has a parser. But that parser ignores a wrong database number, passes unknown options to a constructor,
and does not verify the host name of a TLS server.
"""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from synckairos.urls.host_name import can_be_looked_up

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_OPTIONS = (*_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
OPTIONS = ("db", "username", "password", *_TLS_OPTIONS, *_SENTINEL_OPTIONS)
_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_CERT_REQS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_HINT = "; in a password, / is written as %2F, # as %23, ? as %3F and @ as %40"
_PORT_FAULT = "should have a port between 1 and 65535"
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS options: how the server is verified, and the client's certificate. All files are PEM."""

    ca_certs: str | None = None
    """File with the trusted authorities. None: the authorities that the system trusts."""

    certfile: str | None = None
    keyfile: str | None = None
    """File with the key of the client's certificate. None: the key is in `certfile`."""

    verify_mode: ssl.VerifyMode = ssl.CERT_REQUIRED
    check_hostname: bool = True

    def build_context(self) -> ssl.SSLContext:
        """Read the files and build a TLS context.

        A connection calls this method each time it connects, so renewed certificates need no restart.

        Raises: OSError, whose text names the option and the file.
        """
        for name, path in zip(_FILES, (self.ca_certs, self.certfile, self.keyfile), strict=True):
            if path is not None:
                _check_readable(name, path)
        try:
            context = ssl.create_default_context(cafile=self.ca_certs)
        except ssl.SSLError:
            raise OSError(f"ssl_ca_certs: {self.ca_certs} contains no PEM certificate") from None
        context.check_hostname = self.check_hostname
        context.verify_mode = self.verify_mode
        if self.certfile is not None:
            try:
                # If no password is given and the key is encrypted, OpenSSL asks for a password on the terminal. An
                # empty password prevents that.
                context.load_cert_chain(self.certfile, self.keyfile, password="")
            except ssl.SSLError:
                key = "the same file" if self.keyfile is None else self.keyfile
                raise OSError(
                    f"ssl_certfile: {self.certfile} is not a PEM certificate for the unencrypted key in {key}"
                ) from None
        return context


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Sentinels, which know the address of the primary of a service."""

    service: str
    """Name of the service in the configuration of the sentinels."""

    addresses: tuple[tuple[str, int], ...]
    """Host and port of each sentinel."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """All data that a connection to Redis needs.

    If `path` is not None, the connection uses this unix socket and ignores `host` and `port`. If `sentinels` is not
    None, the connection asks the sentinels for host and port, and ignores `host` and `port`. If `cluster_nodes` is not
    empty, the store is a Redis Cluster: host and port of each node that is asked for the slots. `host` and `port` are
    then those of the first of these nodes.
    """

    host: str = "localhost"
    port: int = DEFAULT_PORT
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsOptions | None = None
    sentinels: Sentinels | None = None
    cluster_nodes: tuple[tuple[str, int], ...] = ()

    @property
    def credentials(self) -> tuple[str, ...]:
        """Return the arguments of AUTH: a user name and a password, or only a password.

        The result is empty if there are no credentials.
        """
        if self.username:
            return self.username, self.password or ""
        return (self.password,) if self.password else ()


def parse_redis_url(url: str) -> RedisAddress:
    """Parse a Redis URL: `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://` or `redis+cluster://`.

    `rediss+sentinel://` and `rediss+cluster://` use TLS. User name and password are percent-encoded in the URL. A TLS
    server must have a certificate for its host name from a trusted authority, unless an option disables the check.
    Files are not read.

    Raises: ValueError, whose text begins with "should". The text contains no part of the user name, the password or an
    option's value.
    """
    scheme, _, _ = url.partition("://")
    if scheme not in _SCHEMES:
        raise ValueError(
            "should be a URL that begins with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
        )
    if "#" in url:
        if "+" not in scheme:
            _split_server_url(url)  # a # in the password can look like a wrong port
        raise ValueError(f"should have no #{_HINT}")
    if scheme.endswith("+cluster"):
        return _parse_cluster_url(url)
    return _parse_sentinel_url(url) if scheme.endswith("+sentinel") else _parse_server_url(url)


def _split_server_url(url: str) -> SplitResult:
    """Split a URL with one server.

    Raises: ValueError if its port is not valid.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # the text of this error can contain the password
        raise ValueError(_PORT_FAULT + _HINT) from None
    if port == 0:
        raise ValueError(_PORT_FAULT)
    return parts


def _parse_server_url(url: str) -> RedisAddress:
    parts = _split_server_url(url)
    options = _read_options(parts)
    username = options.get("username", _decode(parts.username)) or None
    password = options.get("password", _decode(parts.password)) or None
    if parts.scheme == "unix":
        if parts.hostname or parts.port or len(parts.path) < 2:
            raise ValueError(f"should have an absolute path after unix://, such as unix:///run/redis.sock{_HINT}")
        db = _database(options.get("db", "0"))
        return RedisAddress(path=unquote(parts.path), db=db, username=username, password=password)
    return RedisAddress(
        host=_host(parts.hostname or "localhost"),
        port=parts.port or DEFAULT_PORT,
        db=_database(options.get("db") or unquote(parts.path).strip("/") or "0"),
        username=username,
        password=password,
        tls=_read_tls(options) if parts.scheme == "rediss" else None,
    )


def _parse_sentinel_url(url: str) -> RedisAddress:
    """Parse `redis+sentinel://user:password@host:26379,host:26379/service/db?options`."""
    parts, addresses = _split_url_with_hosts(url, "sentinels", DEFAULT_SENTINEL_PORT)
    options = _read_options(parts)
    service, _, db = unquote(parts.path).strip("/").partition("/")
    if not service:
        raise ValueError("should have the name of the service after the sentinels, such as /mymaster/0")
    return RedisAddress(
        db=_database(options.get("db") or db or "0"),
        username=options.get("username", _decode(parts.username)) or None,
        password=options.get("password", _decode(parts.password)) or None,
        tls=_read_tls(options) if parts.scheme == "rediss+sentinel" else None,
        sentinels=Sentinels(
            service,
            addresses,
            options.get("sentinel_username") or None,
            options.get("sentinel_password") or None,
        ),
    )


def _parse_cluster_url(url: str) -> RedisAddress:
    """Parse `redis+cluster://user:password@host:6379,host:6379?options`."""
    parts, nodes = _split_url_with_hosts(url, "nodes", DEFAULT_PORT)
    options = _read_options(parts)
    if parts.path.strip("/") not in ("", "0"):
        raise ValueError(f"should have no database number, because a Redis Cluster has the database 0 alone{_HINT}")
    return RedisAddress(
        *nodes[0],
        username=options.get("username", _decode(parts.username)) or None,
        password=options.get("password", _decode(parts.password)) or None,
        tls=_read_tls(options) if parts.scheme == "rediss+cluster" else None,
        cluster_nodes=nodes,
    )


def _split_url_with_hosts(url: str, what: str, default_port: int) -> tuple[SplitResult, tuple[tuple[str, int], ...]]:
    """Split a URL with several hosts. Return its parts, with one host in place of all hosts, and the hosts with ports.

    `what` is the word for the hosts in errors.

    Raises: ValueError if a host is missing or a port is not valid.
    """
    scheme, _, rest = url.partition("://")
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    login, at, hosts = authority.rpartition("@")
    addresses = []
    for host in hosts.split(","):
        each = _split_server_url(f"redis://{host}")
        if not each.hostname:
            port = default_port
            raise ValueError(f"should have {what} such as host1:{port},host2:{port} before the first /{_HINT}")
        addresses.append((_host(each.hostname), each.port or default_port))
    # urlsplit knows one host alone.
    return urlsplit(f"{scheme}://{login}{at}host{rest[len(authority) :]}"), tuple(addresses)


def validate_single_redis_url(url: str) -> str:
    """Return the URL unchanged if `validate_redis_url` accepts it and it is not the URL of a Redis Cluster.

    Raises: ValueError if the URL is of a Redis Cluster, or the errors of `validate_redis_url`.
    """
    if parse_redis_url(url).cluster_nodes:
        raise ValueError("should be set to a Redis without Cluster, which the job queue and the import from v2 need")
    return validate_redis_url(url)


def validate_redis_url(url: str) -> str:
    """Return the URL unchanged if it is valid and its TLS files are usable. The files are read.

    Raises: ValueError if the URL is not valid, or if a TLS file is missing or unusable.
    """
    address = parse_redis_url(url)
    if address.tls is not None:
        try:
            address.tls.build_context()
        except OSError as error:
            raise ValueError(str(error)) from None
    return url


def _read_options(parts: SplitResult) -> dict[str, str]:
    options: dict[str, str] = {}
    refused: tuple[str, ...] = () if parts.scheme.startswith("rediss") else _TLS_OPTIONS
    if not parts.scheme.endswith("+sentinel"):
        refused += _SENTINEL_OPTIONS
    if parts.scheme.endswith("+cluster"):
        refused += ("db",)
    known = tuple(name for name in OPTIONS if name not in refused)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in _TLS_OPTIONS and name not in known:
            raise ValueError(f"should begin with rediss://, because {name} is an option of TLS")
        if name not in known:
            # An unknown option name can be a part of a password that contains a question mark. So only a plain name is
            # shown.
            shown = f" {name}" if re.fullmatch(r"[a-z_]{1,40}", name) else ""
            raise ValueError(f"should not have the option{shown}; the options are {', '.join(known)}{_HINT}")
        if name in options:
            raise ValueError(f"should have {name} once")
        if not value:
            raise ValueError(f"should have a value for {name}")
        options[name] = value
    return options


def _read_tls(options: dict[str, str]) -> TlsOptions:
    requirement = options.get("ssl_cert_reqs", "required").lower()
    if requirement not in _CERT_REQS:
        raise ValueError("should have ssl_cert_reqs none, optional or required")
    verify_mode = _CERT_REQS[requirement]
    check = options.get("ssl_check_hostname", "false" if verify_mode is ssl.CERT_NONE else "true").lower()
    if check not in _BOOLEANS:
        raise ValueError("should have ssl_check_hostname true or false")
    if _BOOLEANS[check] and verify_mode is ssl.CERT_NONE:
        raise ValueError("should not have ssl_check_hostname together with ssl_cert_reqs=none, which verifies nothing")
    ca_certs, certfile, keyfile = (options.get(name) for name in _FILES)
    if keyfile is not None and certfile is None:
        raise ValueError("should have ssl_certfile together with ssl_keyfile")
    return TlsOptions(ca_certs, certfile, keyfile, verify_mode, _BOOLEANS[check])


def _host(text: str) -> str:
    host = unquote(text)
    if not can_be_looked_up(host):
        raise ValueError(f"should have a host name without empty or very long parts{_HINT}")
    return host


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"should have a database number, such as /0 after the host or ?db=0{_HINT}")
    return int(text)


def _decode(text: str | None) -> str | None:
    try:
        return None if text is None else unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("should have a user and a password in UTF-8") from None


def _check_readable(option: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise OSError(f"{option}: {path}: {error.strerror}") from None
