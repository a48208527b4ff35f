"""Settings of one process: each environment variable with its default and its meaning.

`.env.example` and the settings page are rendered from this module. The module reads only the environment, and a file if
the caller names a file. The module opens no connection, holds no global state, and never prints a value that could be a
secret.
"""

import os
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, AliasChoices, AliasGenerator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from synckairos.errors import SyncKairosError
from synckairos.principal import Role
from synckairos.urls.redis_url import check_redis_url

PREFIX = "SYNCKAIROS_"

# The variables of these settings also work without the prefix, as in v2. If both variables are set, the variable with
# the prefix wins.
UNPREFIXED = frozenset(
    {
        "port",
        "redis_url",
        "database_url",
        "database_direct_url",
        "queue_redis_url",
        "database_pool_min",
        "database_pool_max",
        "jwt_secret",
        "log_level",
        "rate_limit_general",
        "rate_limit_switch",
    }
)

# The logger of v2, pino, has other names for some levels.
_LEVELS = {"trace": "debug", "warn": "warning", "fatal": "critical"}


OWN_SEGMENTS = frozenset(
    {
        *("v1", "ws", "health", "ready", "metrics", "docs", "openapi.json", "asyncapi.json"),
        *("api-docs", "api-docs.json", "demo", "demo-qr.svg"),
    }
)
"""First path segments of the server's own paths. A sub-path that begins with such a segment would be ambiguous."""

MAX_ROOT_PATH_LENGTH = 64
"""Maximum number of characters of a sub-path. With this length, the URL of a link still fits into its QR code."""


class BadSettings(SyncKairosError):
    """A setting has an invalid value. The message has one line for each fault, with the name of the variable."""

    code = "BAD_SETTINGS"


def env_variables_of(field: str) -> tuple[str, ...]:
    """Return the environment variables that set `field`. The first variable takes precedence."""
    prefixed = PREFIX + field.upper()
    return (prefixed, field.upper()) if field in UNPREFIXED else (prefixed,)


def _url_with(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:  # the text of this error can contain the password
            raise ValueError("should have a host, and a port between 0 and 65535") from None
        if parts.scheme not in schemes:
            raise ValueError(f"should be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
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


def _check_origin(value: str) -> str:
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


def _check_auth(value: str) -> str:
    if value != "none":
        raise ValueError("should be none, the only supported mode")
    return value


def _lower_level(value: object) -> object:
    return _LEVELS.get(value.lower(), value.lower()) if isinstance(value, str) else value


RedisUrl = Annotated[str, AfterValidator(check_redis_url), Field(repr=False)]
PostgresUrl = Annotated[str, _url_with("postgresql", "postgres"), Field(repr=False)]
OptionalPostgresUrl = Annotated[Annotated[str, _url_with("postgresql", "postgres")] | None, Field(repr=False)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower_level)]
WebUrl = Annotated[str, _url_with("http", "https")]
RootPath = Annotated[str, AfterValidator(_check_root_path)]
ArchiveUrl = Annotated[str, AfterValidator(_check_archive_url)]
Auth = Annotated[str, AfterValidator(_check_auth)]
OutagePolicy = Annotated[
    str, _matching(r"charge|freeze|credit:[0-9]{1,9}", "should be charge, freeze or credit:<ms>, such as credit:5000")
]
KeyPrefix = Annotated[
    str, _matching(r"[A-Za-z0-9_.-]{1,64}", "should be 1 to 64 letters, digits, dots, hyphens or underscores")
]
Origins = Annotated[list[Annotated[str, AfterValidator(_check_origin)]], NoDecode, BeforeValidator(_split_commas)]
Networks = Annotated[list[Annotated[str, AfterValidator(_check_network)]], NoDecode, BeforeValidator(_split_commas)]


SETTINGS_PAGE = """\
# Settings

Every setting is an environment variable. `make env` renders this page and [`.env.example`](../../.env.example) from the
settings in the code, and a test keeps both current.

- A name without the prefix `SYNCKAIROS_` also works with it. If both are set, the prefixed name wins.
- An empty value counts as unset.
- Only `synckairos dev` reads the file `.env`. All other commands read the environment alone.
- The items of a list are separated by commas.
- A process with a wrong value does not start. The process prints one line for each wrong variable.
- `synckairos doctor` also names each variable that starts with `SYNCKAIROS_` but is not a setting.
- `--host`, `--port` and `--insecure` of `serve` and `dev` override the variables of the same names.
- `DATABASE_POOL_MIN` must not exceed `DATABASE_POOL_MAX`.

The page [limits](limits.md) lists the bounds that no setting changes.

| variable | default | values | meaning |
|---|---|---|---|
{rows}
"""


LONGEST_S = 100 * 365 * 86_400
"""Seconds in 100 years: the maximum of the settings that are durations.

Much longer durations overflow Postgres timestamps and Redis expiry times.
"""


class Settings(BaseSettings):
    """The settings of one process. The object is frozen.

    `to_environment_variables()` returns variables that give a child process the same settings.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=AliasGenerator(validation_alias=lambda field: AliasChoices(*env_variables_of(field))),
    )

    host: str = Field("127.0.0.1", description="Address to listen on. Any address except loopback needs `--insecure`.")
    port: int = Field(3000, ge=0, le=65535, description="Port to listen on. 0 selects a free port.")
    redis_url: RedisUrl = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis URL of the primary store: redis://, rediss:// (TLS) or unix://, with options. "
        "If unset, `dev` starts an embedded Redis.",
    )
    database_url: PostgresUrl = Field(
        "postgresql://127.0.0.1:5432/synckairos",
        description="Postgres URL of the audit database. If unset, `dev` starts an embedded Postgres.",
    )
    database_direct_url: OptionalPostgresUrl = Field(
        None,
        description="Postgres URL without a connection pooler, for `synckairos migrate` and the takeover of v2's "
        "database. Default: DATABASE_URL.",
    )
    queue_redis_url: RedisUrl = Field(
        default_factory=lambda data: data["redis_url"], description="Redis URL of the job queue. Default: REDIS_URL."
    )
    database_pool_min: int = Field(
        1, ge=0, description="Number of Postgres connections that each pool always keeps open."
    )
    database_pool_max: int = Field(10, ge=1, description="Maximum number of Postgres connections in each pool.")
    jwt_secret: SecretStr | None = Field(None, description="Reserved for bearer tokens. It has no effect yet.")
    log_level: LogLevel = Field(
        "info", description="Minimum level of log lines: debug, info, warning, error or critical."
    )
    rate_limit_general: int = Field(
        6_000, ge=1, description="Maximum number of requests per minute from one client address, except legal presses."
    )
    rate_limit_switch: int = Field(
        30, ge=1, description="Maximum number of presses (switch, pause, resume) per second in one session."
    )
    client_work_factor: float = Field(
        1, gt=0, le=1e9, description="Factor that multiplies the limits of the work that one client may cause."
    )
    partitions: int = Field(
        1,
        ge=1,
        le=16384,
        description="Number of partitions of the store. Never change the number of a store that has data.",
    )
    auth: Auth = Field(
        "none", description="Authentication mode. Only `none` exists: every caller that can connect has full access."
    )
    insecure: bool = Field(
        False, description="Allow an address that other machines can reach although SYNCKAIROS_AUTH is none."
    )
    allowed_origins: Origins = Field(
        [],
        description="Origins of web pages that are allowed to connect, separated by commas. "
        "Empty: only the origin of the server.",
    )
    root_path: RootPath = Field(
        "",
        description="Sub-path under which a proxy serves this server, such as /clock. "
        "The proxy can pass the sub-path on or remove it.",
    )
    trusted_proxies: Networks = Field(
        [],
        description="Proxies with a trusted X-Forwarded-For or Forwarded: addresses or networks, separated by commas.",
    )
    dev: bool = Field(
        False, description="Readable logs, and stack traces in error responses. `synckairos dev` sets it."
    )
    history_length: int = Field(
        32,
        ge=1,
        le=10_000,
        description="Number of latest versions per session that Redis keeps, for clients that resume.",
    )
    session_ttl_s: int = Field(
        3600,
        ge=1,
        le=LONGEST_S,
        description="Seconds that a session stays in Redis after its newest version is in Postgres.",
    )
    outbox_max_entries: int = Field(
        2_000_000,
        ge=1,
        description="Maximum number of versions in the outbox. If the outbox is full, commands are refused with 503.",
    )
    outbox_max_bytes: int = Field(2 << 30, ge=1, description="Maximum size of the outbox in bytes of Redis memory.")
    outbox_max_age_s: int = Field(
        0, ge=0, description="Maximum age in seconds of the oldest version in the outbox. 0: no maximum."
    )
    archive_url: ArchiveUrl = Field(
        "archive",
        description="Place to store archives and exports: a folder, or s3://bucket/prefix with AWS_* variables.",
    )
    archive_after_s: int = Field(
        0,
        ge=0,
        le=LONGEST_S,
        description="Seconds after a session's end until it is archived automatically. 0: only on request.",
    )
    archive_role: Role = Field(
        "viewer",
        description="Lowest role that may read archives. Without authentication every caller has the highest role.",
    )
    archive_events_role: Role = Field(
        "participant",
        description="Lowest role that may read the events in archives. It has no effect without authentication.",
    )
    retention_s: int = Field(
        0,
        ge=0,
        le=LONGEST_S,
        description="Seconds after a session's end until its archived rows are removed from Postgres. 0: never.",
    )
    alarm_webhook_url: WebUrl | None = Field(
        None, description="URL that receives each alert as JSON by POST. Alerts are also logged."
    )
    sentry_dsn: SecretStr | None = Field(
        None, description="Sentry DSN that receives each alert. Needs the extra synckairos[sentry]."
    )
    outage_policy: OutagePolicy = Field(
        "charge",
        description="How the duration of an outage is charged after data loss in Redis: charge, freeze or credit:<ms>.",
    )
    key_prefix: KeyPrefix = Field("sk", description="Prefix of every Redis key.")
    redis_timeout_s: float = Field(
        2.0, gt=0, description="Seconds after which a Redis command without an answer counts as failed."
    )
    drain_timeout_s: float = Field(
        5, ge=0, description="Maximum seconds that a shutdown waits for open connections to close."
    )
    keep_alive_s: float = Field(
        75,
        gt=0,
        description="Seconds that an idle HTTP connection stays open. Use more than the idle time of load balancers.",
    )
    webhook_timeout_s: float = Field(
        15,
        gt=0,
        le=60,
        description="Timeout in seconds of one webhook request, from connecting to the end of the response.",
    )
    webhook_log_days: int = Field(
        30, ge=1, le=LONGEST_S // 86_400, description="Days that Postgres keeps webhook deliveries and their attempts."
    )
    webhook_allowed_networks: Networks = Field(
        [],
        description="Private networks to which webhooks are allowed, separated by commas.",
    )
    webhook_allow_http: bool = Field(False, description="Allow webhook URLs with http:// in addition to https://.")
    ws_max_connections: int = Field(20_000, ge=1, description="Maximum number of open sockets of one process.")
    ws_max_connections_per_address: int = Field(
        15_000,
        ge=1,
        description="Maximum number of sockets from one IPv4 address or IPv6 /64. "
        "All clients of an untrusted proxy count as one address.",
    )

    @property
    def schema_url(self) -> str:
        """The Postgres URL for changes of the schema."""
        return self.database_direct_url or self.database_url

    @property
    def is_exposed_to_network(self) -> bool:
        """Whether other machines can reach the address that the process listens on."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    def refuse_unprotected_exposure(self) -> Self:
        """Return the settings if the process can listen on `host` without risk.

        That is so if `host` is a loopback address, or if `insecure` is set.

        Raises: BadSettings if neither is true.
        """
        if self.auth == "none" and self.is_exposed_to_network and not self.insecure:
            raise BadSettings(
                f"{PREFIX}HOST: other machines can reach {self.host}, and {PREFIX}AUTH is none. "
                "Listen on 127.0.0.1, or pass --insecure to give every caller full access"
            )
        return self

    def to_environment_variables(self) -> dict[str, str]:
        """Return the environment variables that give a child process the same settings.

        The values include secrets. Use the variables only as the environment of a child process.
        """
        values = self.model_dump(mode="python", exclude_none=True)
        return {env_variables_of(field)[0]: _to_text(value) for field, value in values.items()}


def load(env_file: Path | None = None, **overrides: Any) -> Settings:
    """Load the settings.

    The first source that sets a field wins: `overrides` (by field name), the environment, `env_file`. `env_file` is
    ignored if it is None or the file does not exist.

    Raises: BadSettings, whose message has one line for each fault.
    """
    try:
        settings = Settings(**{**_from_file(env_file), **overrides})
    except ValidationError as error:
        raise BadSettings("\n".join(_faults(error))) from None
    if settings.database_pool_min > settings.database_pool_max:
        raise BadSettings(
            f"DATABASE_POOL_MIN: {settings.database_pool_min} is more than "
            f"DATABASE_POOL_MAX, {settings.database_pool_max}"
        )
    return settings


def is_set(settings: Settings, field: str) -> bool:
    """Return whether a source set `field`, also if the value is equal to the default."""
    return field in settings.model_fields_set


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the variables in `environ` that start with `SYNCKAIROS_` but are not settings, sorted.

    Such variables are most likely misspelled.
    """
    known = {name for field in Settings.model_fields for name in env_variables_of(field)}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def redact(url: str) -> str:
    """Return the URL without its secrets.

    The password is replaced by `***`, even if the password is not percent-encoded. So is the value of each query
    parameter whose name contains `pass`, `secret` or `token`.
    """
    url = re.sub(r"(://[^\s:/?#]*:)\S*@", r"\1***@", url)
    return re.sub(r"([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&\s]*", r"\1***", url, flags=re.IGNORECASE)


def render_example() -> str:
    """Return the text of `.env.example`: each variable with its default and one line of meaning."""
    lines = [
        "# Every setting with its default. Only `synckairos dev` reads .env. Other commands read only the environment.",
        f"# Names without {PREFIX} also work with this prefix. If both are set, the prefixed name wins.",
    ]
    for field, info in Settings.model_fields.items():
        default = None if info.default_factory or info.default is None else info.default
        text = "" if default is None else _to_text(default)
        lines += ["", f"# {info.description}", f"#{env_variables_of(field)[-1]}={text}"]
    return "\n".join(lines) + "\n"


def render_settings_page() -> str:
    """Return the text of `docs/reference/settings.md`: one row for each variable, with default, values and meaning."""
    rows = []
    for field, info in Settings.model_fields.items():
        default = None if info.default_factory or info.default is None else _to_text(info.default)
        cells = (f"`{env_variables_of(field)[-1]}`", f"`{default}`" if default else "", _allowed_values(field, info))
        meaning = (info.description or "").replace("<", "&lt;").replace("|", "\\|")
        rows.append(f"| {' | '.join(cells)} | {meaning} |")
    return SETTINGS_PAGE.format(rows="\n".join(rows))


def _allowed_values(field: str, info: FieldInfo) -> str:
    """Return a text for the values of a setting: its choices, its bounds if it is a number, or else its type."""
    kind = info.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is bool:
        return "`true`, `false`"
    if kind in (int, float):
        word = "whole number" if kind is int else "number"
        bounds = [f"{sign} {bound:,}" for each in info.metadata for sign, bound in _bounds(each)]
        return f"{word} {' and '.join(bounds)}"
    if get_origin(kind) is list:
        return "list"
    return "URL" if field.endswith("_url") else "text"


def _bounds(constraint: object) -> Iterator[tuple[str, float]]:
    for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤")):
        if (bound := getattr(constraint, name, None)) is not None:
            yield sign, bound


def _from_file(env_file: Path | None) -> dict[str, str]:
    """Return the values in the file for all fields that the environment does not set, by field name.

    The file and the environment can use each of the names of a field.
    """
    if env_file is None or not env_file.is_file():
        return {}
    values = dotenv_values(env_file)
    found: dict[str, str] = {}
    for field in Settings.model_fields:
        names = env_variables_of(field)
        if any(os.environ.get(name) for name in names):
            continue
        if value := next((values[name] for name in names if values.get(name)), None):
            found[field] = value
    return found


def _faults(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False):
        if fault["type"] == "default_factory_not_called":
            continue  # a consequence of another fault in the same list
        name = str(fault["loc"][0])
        field = name.removeprefix(PREFIX).lower()
        # If the environment does not set the field, the value is from the file, most likely under the name in
        # .env.example.
        shown = next((each for each in env_variables_of(field) if os.environ.get(each)), env_variables_of(field)[-1])
        # URLs can contain passwords, so the message shows no value of a URL or a secret.
        given = "" if field.endswith(("_url", "_secret", "_dsn")) else f", not {fault['input']!r}"
        lines.append(f"{shown}: {_fault_text(fault['type'], fault['msg'], fault.get('ctx', {}))}{given}")
    return lines


def _fault_text(kind: str, text: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "int_parsing" | "int_parsing_size" | "int_from_float":
            return "should be a whole number"
        case "float_parsing":
            return "should be a number"
        case "bool_parsing":
            return "should be true or false"
        case "greater_than_equal":
            return f"should be at least {context['ge']:.15g}"
        case "greater_than":
            return f"should be more than {context['gt']:.15g}"
        case "less_than_equal":
            return f"should be at most {context['le']:.15g}"
        case "literal_error":
            return f"should be {context['expected']}"
        case _:
            text = text.removeprefix("Value error, ").removeprefix("Input ")
            return f"{text[:1].lower()}{text[1:]}"


def _to_text(value: object) -> str:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case bool():
            return "true" if value else "false"
        case list():
            return ",".join(str(item) for item in value)
        case float():
            return str(value).removesuffix(".0")
        case _:
            return str(value)
