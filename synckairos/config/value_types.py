"""Types of the values of settings, with their checks. An error text never contains the checked value."""

import json
import re
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

from synckairos.urls.host_name import can_be_looked_up
from synckairos.urls.redis_url import validate_redis_url, validate_single_redis_url

TENANT_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
"""Pattern of the names of tenants."""

TENANT_NAME_FAULT = (
    "should be 1 to 63 lower-case letters, digits, dots, hyphens or underscores, with a letter or digit first"
)
"""Text of the fault of a name that does not match `TENANT_NAME`."""

# The logger of v2, pino, has other names for some levels.
_LEVELS = {"trace": "debug", "warn": "warning", "fatal": "critical"}


OWN_SEGMENTS = frozenset(
    {
        *("v1", "v3", "ws", "health", "ready", "metrics", "docs", "openapi.json", "asyncapi.json"),
        *("api-docs", "api-docs.json", "demo", "demo-qr.svg", "view", "control", "desk", "agenda"),
        *("playground", "console"),
    }
)
"""First path segments of the server's own paths. A sub-path that begins with such a segment would be ambiguous."""

MAX_ROOT_PATH_LENGTH = 64
"""Maximum number of characters of a sub-path. With this length, the URL of a link still fits into its QR code."""


MIN_METRICS_TOKEN_LENGTH = 32
"""Minimum number of characters of the metrics token, so that it cannot be guessed."""


LONGEST_S = 100 * 365 * 86_400
"""Seconds in 100 years: the maximum of the settings that are durations.

Much longer durations overflow Postgres timestamps and Redis expiry times.
"""


def _url_with(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:  # the text of this error can contain the password
            raise ValueError("should have a host, and a port between 0 and 65535") from None
        if parts.scheme not in schemes:
            raise ValueError(f"should be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        # A Postgres URL can have several hosts, each with a port.
        if not all(can_be_looked_up(host) for host in re.split("[,:]", parts.hostname or "")):
            raise ValueError("should have a host name without empty or very long parts")
        return value

    return AfterValidator(check)


def _matching(pattern: str, message: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def check_origin(value: str) -> str:
    """Return an origin unchanged. Raises: ValueError if it is not an origin of web pages."""
    if not re.fullmatch(r"https?://[^/?#@\s]+", value):
        raise ValueError("should be origins such as https://example.org, without a path, separated by commas")
    return value


def _check_network(value: str) -> str:
    try:
        ip_network(value, strict=False)
    except ValueError:
        raise ValueError("should be addresses or networks such as 10.0.0.0/8, separated by commas") from None
    return value


def _check_root_path(value: str) -> str:
    path = value.removesuffix("/")
    if not re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*", path) or len(path) > MAX_ROOT_PATH_LENGTH:
        raise ValueError(
            "should be a path such as /clock: segments of letters, digits, dots, hyphens, underscores and tildes, each "
            f"after a slash, {MAX_ROOT_PATH_LENGTH} characters at most"
        )
    if path.split("/")[1:2] and path.split("/")[1] in OWN_SEGMENTS:
        raise ValueError(f"should not begin with /{path.split('/')[1]}, which is a path of the server itself")
    return path


def _check_archive_url(value: str) -> str:
    scheme = urlsplit(value).scheme
    if scheme not in ("", "file", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss"):
        raise ValueError("should be a folder, or a URL that begins with file://, s3://, gs:// or az://")
    return value


TenantName = Annotated[str, _matching(TENANT_NAME, TENANT_NAME_FAULT)]


def _check_jwks_url(value: str) -> str:
    parts = urlsplit(value)
    if not _is_protected(parts):
        raise ValueError("should have URLs that begin with https:// (http:// only for loopback addresses)")
    if not _has_only_host(parts):
        raise ValueError("should have URLs with a host and without credentials and fragments")
    return value


def _check_members_url(value: str) -> str:
    parts = urlsplit(value)
    if not _is_protected(parts):
        raise ValueError("should begin with https:// (http:// only for loopback addresses)")
    if not _has_only_host(parts):
        raise ValueError("should be a URL with a host and without credentials and fragments")
    if "{" in parts.netloc or re.search(r"[{}]", value.replace("{tenant}", "")):
        raise ValueError("should have no braces except {tenant} in the path or in the query")
    return value


def _is_protected(parts: SplitResult) -> bool:
    """Return whether a URL has TLS, or names the same machine."""
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts))


def _has_only_host(parts: SplitResult) -> bool:
    """Return whether a URL has a host, and neither credentials nor a fragment."""
    return bool(parts.hostname) and parts.username is None and not parts.fragment


def _is_loopback(parts: SplitResult) -> bool:
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


class JwksSource(BaseModel):
    """A key set (JWKS) of an issuer of tokens.

    - `url`: the address of the key set.
    - `issuer`: the only issuer (`iss`) whose tokens these keys verify. None: any issuer.
    - `tenants`: the tenants that these tokens are allowed to name. None: all tenants.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: Annotated[str, AfterValidator(_check_jwks_url)]
    issuer: Annotated[str, Field(min_length=1)] | None = None
    tenants: Annotated[list[TenantName], Field(min_length=1)] | None = None


def _parse_json_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('should be a JSON list such as [{"url": "https://id.example.org/jwks.json"}]') from None


def _check_metrics_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(rf"[!-~]{{{MIN_METRICS_TOKEN_LENGTH},7900}}", value.get_secret_value()):
        raise ValueError(f"should have at least {MIN_METRICS_TOKEN_LENGTH} visible ASCII characters and no spaces")
    return value


def _lower_level(value: object) -> object:
    return _LEVELS.get(value.lower(), value.lower()) if isinstance(value, str) else value


def _check_bearer_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]{1,7900}", value.get_secret_value()):
        raise ValueError("should have visible ASCII characters and no spaces")
    return value


RedisUrl = Annotated[str, AfterValidator(validate_redis_url), Field(repr=False)]
QueueRedisUrl = Annotated[str, AfterValidator(validate_single_redis_url), Field(repr=False)]
PostgresUrl = Annotated[str, _url_with("postgresql", "postgres"), Field(repr=False)]
OptionalPostgresUrl = Annotated[Annotated[str, _url_with("postgresql", "postgres")] | None, Field(repr=False)]
MetricsTokenText = Annotated[Annotated[SecretStr, AfterValidator(_check_metrics_token)] | None, Field(repr=False)]
BearerTokenText = Annotated[Annotated[SecretStr, AfterValidator(_check_bearer_token)] | None, Field(repr=False)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower_level)]
WebUrl = Annotated[str, _url_with("http", "https")]
MembersUrl = Annotated[str, AfterValidator(_check_members_url)]
RootPath = Annotated[str, AfterValidator(_check_root_path)]
ArchiveUrl = Annotated[str, AfterValidator(_check_archive_url)]
AuditSnapshots = Literal["all", "sparse"]
Auth = Literal["none", "required"]
Tenants = Literal["any", "registered"]
JwksSources = Annotated[list[JwksSource], NoDecode, BeforeValidator(_parse_json_list), Field(max_length=20)]
TenantList = Annotated[list[TenantName], NoDecode, BeforeValidator(_split_commas)]
TextList = Annotated[list[str], NoDecode, BeforeValidator(_split_commas)]
OutagePolicy = Annotated[
    str, _matching(r"charge|freeze|credit:[0-9]{1,9}", "should be charge, freeze or credit:<ms>, such as credit:5000")
]
KeyPrefix = Annotated[
    str, _matching(r"[A-Za-z0-9_.-]{1,64}", "should be 1 to 64 letters, digits, dots, hyphens or underscores")
]
Origins = Annotated[list[Annotated[str, AfterValidator(check_origin)]], NoDecode, BeforeValidator(_split_commas)]
Networks = Annotated[list[Annotated[str, AfterValidator(_check_network)]], NoDecode, BeforeValidator(_split_commas)]
