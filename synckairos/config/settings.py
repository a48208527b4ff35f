"""Settings of one process: each environment variable with its default and its meaning."""

from ipaddress import ip_address
from typing import Self

from pydantic import AliasChoices, AliasGenerator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from synckairos.config.environment_variables import PREFIX, env_variable_text, env_variables_of
from synckairos.config.value_types import (
    LONGEST_S,
    ArchiveUrl,
    AuditSnapshots,
    Auth,
    BearerTokenText,
    JwksSources,
    KeyPrefix,
    LogLevel,
    MembersUrl,
    MetricsTokenText,
    Networks,
    OptionalPostgresUrl,
    Origins,
    OutagePolicy,
    PostgresUrl,
    QueueRedisUrl,
    RedisUrl,
    RootPath,
    TenantList,
    TenantName,
    Tenants,
    TextList,
    WebUrl,
)
from synckairos.errors import SyncKairosError
from synckairos.principal import Role


class BadSettings(SyncKairosError):
    """A setting has an invalid value. The message has one line for each fault, with the name of the variable."""

    code = "BAD_SETTINGS"


class Settings(BaseSettings):
    """The settings of one process. The object is frozen. `config.load` creates it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=AliasGenerator(validation_alias=lambda field: AliasChoices(*env_variables_of(field))),
    )

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. Without authentication, any address except loopback needs `--insecure`.",
    )
    port: int = Field(3000, ge=0, le=65535, description="Port to listen on. 0 selects a free port.")
    redis_url: RedisUrl = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis URL of the primary store: redis://, rediss:// (TLS), unix://, redis+sentinel:// or "
        "redis+cluster://, with options. If unset, `dev` starts an embedded Redis.",
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
    queue_redis_url: QueueRedisUrl = Field(
        default_factory=lambda data: data["redis_url"],
        validate_default=True,
        description="Redis URL of the job queue. Default: REDIS_URL. It must be set if REDIS_URL is a Redis Cluster, "
        "to a Redis without Cluster.",
    )
    database_pool_min: int = Field(
        1, ge=0, description="Number of Postgres connections that each pool always keeps open."
    )
    database_pool_max: int = Field(10, ge=1, description="Maximum number of Postgres connections in each pool.")
    jwt_secret: SecretStr | None = Field(
        None, description="Secret that signs and verifies tokens with HS256: at least 32 bytes."
    )
    jwt_secret_previous: SecretStr | None = Field(
        None, description="The secret before the newest change. Tokens that it signed stay valid. At least 32 bytes."
    )
    jwt_public_key: str | None = Field(
        None,
        repr=False,
        description="Public key in PEM that verifies tokens: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA). "
        "`\\n` stands for a line break.",
    )
    jwks: JwksSources = Field(
        [],
        description="Key sets (JWKS) that verify tokens, as a JSON list of objects: "
        '`[{"url": "https://…", "issuer": "…", "tenants": ["…"]}]`. `issuer` and `tenants` are optional.',
    )
    jwt_audience: str = Field("synckairos", description="Audience (`aud`) that each token must name.")
    jwt_issuers: TextList = Field(
        [], description="Issuers (`iss`) of tokens that are accepted, separated by commas. Empty: all."
    )
    jwt_max_ttl: int = Field(
        86_400, ge=1, le=LONGEST_S, description="Maximum seconds from now to the expiry (`exp`) of a token."
    )
    jwt_tenant: TenantName = Field("default", description="Tenant of tokens that name no tenant.")
    jwt_claim_tenant: str = Field("tenant", description="Name of the claim with the tenant.")
    jwt_claim_role: str = Field(
        "role", description="Name of the claim with the role: viewer, participant, controller or admin."
    )
    jwt_claim_grants: str = Field("grants", description="Name of the claim with the grants.")
    jwt_claim_participant_id: str = Field(
        "participant_id", description="Name of the claim with the participant id (UUID)."
    )
    jwt_claim_grp: str = Field("grp", description="Name of the claim with the group that revocations can name.")
    metrics_token: MetricsTokenText = Field(
        None,
        description="Bearer token that opens `/metrics` and the reasons of `/ready`: at least 32 characters. "
        "If it is set, `/metrics` needs it also without authentication.",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which each worker answers `GET /metrics` and `GET /health`. Empty: none. "
        "0 selects a free port. Instances do not use it, because they answer on `PORT`.",
    )
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
        1,
        gt=0,
        le=1e9,
        description="Factor that multiplies the limits of the work that one client, or one tenant, may cause.",
    )
    partitions: int = Field(
        1,
        ge=1,
        le=16384,
        description="Number of partitions of the store. Never change the number of a store that has data.",
    )
    clock_edition: int = Field(
        2,
        ge=1,
        le=2,
        description="Edition of the clock's rules for new sessions. Set 1 while processes of the earlier release run. "
        "With 1, the outbox and the audit also have no changes instead of documents, and version histories are not "
        "packed.",
    )
    audit_snapshots: AuditSnapshots = Field(
        "all",
        description="Documents in the rows of the audit. `all`: each version of a small session has its document. "
        "`sparse`: one in 32 versions has it, and the others have what changed. Workers then take more processor time.",
    )
    auth: Auth = Field(
        "none",
        description="Authentication mode. `none`: every caller that can connect has full access. "
        "`required`: a request needs a token, except for public pages.",
    )
    tenants: Tenants = Field(
        "any",
        description="Tenants that tokens can name. `any`: each tenant that a verified token names. "
        "`registered`: only tenants that an operator has created, and the default tenant.",
    )
    operator_networks: Networks = Field(
        [],
        description="Addresses or networks from which keys of operators are accepted, separated by commas. Empty: all.",
    )
    insecure: bool = Field(
        False,
        description="Allow an address that other machines can reach although SYNCKAIROS_AUTH is none. "
        "Allow tokens over plain HTTP from other machines.",
    )
    allowed_origins: Origins = Field(
        [],
        description="Origins of web pages that are allowed to connect, separated by commas. "
        "Empty: only the origin of the server.",
    )
    frame_ancestors: Origins = Field(
        [],
        description="Origins of web pages that are allowed to show the pages of this server in a frame, separated by "
        "commas. Empty: none.",
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
        description="Number of latest versions per session for clients that resume. Redis keeps up to an eighth more.",
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
    trace_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of versions whose spans are sent to a collector of OpenTelemetry, 0 to 1. 0: off. Above "
        "0 it needs the extra synckairos[otel].",
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
    members_url: MembersUrl | None = Field(
        None,
        description="URL of the list of all members of a tenant, for the nightly reconciliation. `{tenant}` in its "
        "path or query stands for the tenant. Empty: no reconciliation.",
    )
    members_token: BearerTokenText = Field(
        None, description="Bearer token of requests to SYNCKAIROS_MEMBERS_URL. Empty: none."
    )
    members_tenants: TenantList = Field(
        ["default"],
        description="Tenants whose members are reconciled every night, separated by commas. "
        "Several tenants need `{tenant}` in SYNCKAIROS_MEMBERS_URL.",
    )
    members_hour: int = Field(
        3, ge=0, le=23, description="Hour of the nightly reconciliation of members, in UTC. It begins at minute 0."
    )
    members_max_removed_percent: int = Field(
        20,
        ge=0,
        le=100,
        description="Maximum share of a tenant's members that one reconciliation may remove, in percent. "
        "If the share is larger, nothing is changed.",
    )
    members_max_bytes: int = Field(
        1 << 30, ge=1, le=1 << 30, description="Maximum size in bytes of the list of all members of a tenant."
    )
    members_timeout_s: float = Field(
        600, gt=0, le=3600, description="Timeout in seconds of the download of the list of members."
    )
    members_allowed_networks: Networks = Field(
        [], description="Private networks from which the list of members can be downloaded, separated by commas."
    )
    ws_max_connections: int = Field(20_000, ge=1, description="Maximum number of open sockets of one process.")
    ws_max_connections_per_address: int = Field(
        15_000,
        ge=1,
        description="Maximum number of sockets from one IPv4 address or IPv6 /64. "
        "All clients of an untrusted proxy count as one address.",
    )

    ws_max_age: int = Field(
        43_200,
        ge=60,
        le=LONGEST_S,
        description="Mean maximum age in seconds of a socket with a credential. Sockets differ by up to 10 %.",
    )

    @property
    def schema_url(self) -> str:
        """The Postgres URL for changes of the schema: `database_direct_url` if it is set, otherwise `database_url`."""
        return self.database_direct_url or self.database_url

    @property
    def stores_changes(self) -> bool:
        """Whether the outbox and the audit can have changes instead of documents. Earlier releases cannot read them."""
        return self.clock_edition >= 2

    @property
    def is_exposed_to_network(self) -> bool:
        """Whether other machines can reach the address that the process listens on."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def local_connect_host(self) -> str:
        """The host by which a program on this machine reaches the server.

        This is `host`, but loopback if `host` is `0.0.0.0` or `::`, which mean all addresses of this machine.
        """
        try:
            return "127.0.0.1" if ip_address(self.host).is_unspecified else self.host
        except ValueError:
            return self.host

    def refuse_unprotected_exposure(self) -> Self:
        """Return these settings unchanged, after a check that the process is allowed to listen on `host`.

        It is allowed if `auth` is not `none`, if `host` is a loopback address, or if `insecure` is set.

        Raises: BadSettings if it is not allowed.
        """
        if self.auth == "none" and self.is_exposed_to_network and not self.insecure:
            raise BadSettings(
                f"{PREFIX}HOST: other machines can reach {self.host or 'every address'}, and {PREFIX}AUTH is none. "
                "Listen on 127.0.0.1, or pass --insecure to give every caller full access"
            )
        return self

    def to_environment_variables(self) -> dict[str, str]:
        """Return the environment variables that give a child process the same settings.

        The values include secrets. Use the variables only as the environment of a child process.
        """
        values = self.model_dump(mode="python", exclude_none=True)
        return {env_variables_of(field)[0]: env_variable_text(value) for field, value in values.items()}
