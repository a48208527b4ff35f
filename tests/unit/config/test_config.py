"""Settings: their sources and precedence, and the message for each invalid value."""

from pathlib import Path

import pytest

from synckairos import config
from synckairos.config import BadSettings, Settings


def test_settings_without_variables_have_the_documented_defaults() -> None:
    settings = config.load()
    assert (settings.host, settings.port, settings.partitions, settings.auth) == ("127.0.0.1", 3000, 1, "none")
    assert (settings.rate_limit_general, settings.rate_limit_switch) == (6_000, 30)
    assert (settings.history_length, settings.session_ttl_s, settings.key_prefix) == (32, 3600, "sk")
    assert settings.queue_redis_url == settings.redis_url
    assert settings.allowed_origins == []
    assert settings.jwt_secret is None


@pytest.mark.parametrize(
    "field",
    sorted(config.UNPREFIXED - {"redis_url", "database_url", "database_direct_url", "queue_redis_url", "log_level"}),
)
def test_bare_name_works_and_the_prefixed_name_has_precedence(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prefixed, bare = config.env_variables_of(field)
    monkeypatch.setenv(bare, "7")
    assert config.load().to_environment_variables()[prefixed] == "7"
    monkeypatch.setenv(prefixed, "8")
    assert config.load().to_environment_variables()[prefixed] == "8"


def test_queue_url_is_the_redis_url_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://one/0")
    assert config.load().queue_redis_url == "redis://one/0"
    monkeypatch.setenv("QUEUE_REDIS_URL", "redis://two/0")
    assert config.load().queue_redis_url == "redis://two/0"
    monkeypatch.setenv("REDIS_URL", "redis+cluster://one")
    assert config.load().redis_url == "redis+cluster://one"
    monkeypatch.delenv("QUEUE_REDIS_URL")
    with pytest.raises(config.BadSettings, match="QUEUE_REDIS_URL: should be set to a Redis without Cluster"):
        config.load()


def test_other_names_without_the_prefix_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("INSECURE", "1")
    assert config.load() == config.load(host="127.0.0.1", insecure=False)


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    assert config.load().port == 3000


def test_list_is_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCKAIROS_ALLOWED_ORIGINS", "https://a.example, http://b.example:8080,")
    monkeypatch.setenv("SYNCKAIROS_TRUSTED_PROXIES", "10.0.0.0/8,::1")
    settings = config.load()
    assert settings.allowed_origins == ["https://a.example", "http://b.example:8080"]
    assert settings.trusted_proxies == ["10.0.0.0/8", "::1"]


@pytest.mark.parametrize(
    ("given", "root_path"),
    [
        ("", ""),
        ("/", ""),
        ("/clock", "/clock"),
        ("/clock/", "/clock"),
        ("/a.b/c-d_e~1", "/a.b/c-d_e~1"),
        ("/..a", "/..a"),
    ],
)
def test_slash_at_the_end_of_the_root_path_does_not_matter(
    given: str, root_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCKAIROS_ROOT_PATH", given)
    assert config.load().root_path == root_path


@pytest.mark.parametrize(("value", "level"), [("INFO", "info"), ("warn", "warning"), ("fatal", "critical")])
def test_log_level_of_v2_is_translated(value: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", value)
    assert config.load().log_level == level


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "abc", "PORT: should be a whole number, not 'abc'"),
        ("PORT", "9" * 5000, "PORT: should be a whole number, not '9"),
        ("SYNCKAIROS_PORT", "99999", "SYNCKAIROS_PORT: should be at most 65535, not '99999'"),
        ("SYNCKAIROS_PARTITIONS", "0", "SYNCKAIROS_PARTITIONS: should be at least 1, not '0'"),
        ("SYNCKAIROS_REDIS_TIMEOUT_S", "soon", "SYNCKAIROS_REDIS_TIMEOUT_S: should be a number, not 'soon'"),
        ("SYNCKAIROS_REDIS_TIMEOUT_S", "0", "SYNCKAIROS_REDIS_TIMEOUT_S: should be more than 0, not '0'"),
        ("SYNCKAIROS_RETENTION_S", "9" * 12, "SYNCKAIROS_RETENTION_S: should be at most 3153600000, not '9"),
        ("SYNCKAIROS_WEBHOOK_LOG_DAYS", "36501", "SYNCKAIROS_WEBHOOK_LOG_DAYS: should be at most 36500, not '36501'"),
        ("SYNCKAIROS_DEV", "maybe", "SYNCKAIROS_DEV: should be true or false, not 'maybe'"),
        ("SYNCKAIROS_OUTAGE_POLICY", "credit", "SYNCKAIROS_OUTAGE_POLICY: should be charge, freeze or credit:<ms>"),
        ("REDIS_URL", "redis://host:port/0", "REDIS_URL: should have a port"),
        ("QUEUE_REDIS_URL", "redis://h?timeout=1", "QUEUE_REDIS_URL: should not have the option timeout"),
        ("REDIS_URL", "rediss://h?ssl_ca_certs=missing.crt", "REDIS_URL: ssl_ca_certs: missing.crt: No such file"),
        ("DATABASE_URL", "postgresql://u:p℀@h/d", "DATABASE_URL: should have a host, and a port"),
        ("DATABASE_URL", "postgresql://a,b..c:5432/d", "DATABASE_URL: should have a host name without empty"),
        ("REDIS_URL", "redis://b..c", "REDIS_URL: should have a host name without empty"),
        (
            "SYNCKAIROS_ALARM_WEBHOOK_URL",
            "http://b..c",
            "SYNCKAIROS_ALARM_WEBHOOK_URL: should have a host name without",
        ),
        ("SYNCKAIROS_AUTH", "jwt", "SYNCKAIROS_AUTH: should be 'none' or 'required'"),
        ("SYNCKAIROS_JWKS", "https://a.example/", "SYNCKAIROS_JWKS: should be a JSON list such as"),
        (
            "SYNCKAIROS_JWKS",
            '[{"url": "http://a.example/"}]',
            "SYNCKAIROS_JWKS: should have URLs that begin with https",
        ),
        ("SYNCKAIROS_JWKS", '[{"url": "https://u:p@a.example/"}]', "SYNCKAIROS_JWKS: should have URLs with a host and"),
        ("SYNCKAIROS_JWKS", "[{}]", "SYNCKAIROS_JWKS: field required (0.url)"),
        ("SYNCKAIROS_JWT_TENANT", "School", "SYNCKAIROS_JWT_TENANT: should be 1 to 63 lower-case letters"),
        ("SYNCKAIROS_JWT_MAX_TTL", "0", "SYNCKAIROS_JWT_MAX_TTL: should be at least 1"),
        ("SYNCKAIROS_ALLOWED_ORIGINS", "https://a.example/", "SYNCKAIROS_ALLOWED_ORIGINS: "),
        ("SYNCKAIROS_TRUSTED_PROXIES", "10.0.0.0/33", "SYNCKAIROS_TRUSTED_PROXIES: should be addresses or networks"),
        *(
            ("SYNCKAIROS_ROOT_PATH", value, "SYNCKAIROS_ROOT_PATH: should be a path such as /clock: ")
            for value in (
                *(
                    "clock",
                    "//",
                    "//clock",
                    "/a//b",
                    "/.",
                    "/..",
                    "/a/../b",
                    "/a/./b",
                    "/a b",
                    "/a?b",
                    "/a#b",
                    "/a%2fb",
                ),
                *("http://h/clock", "/é", "/a\\b", "/a:b", "/{a}", '/a"b', "/" + "a" * 64),
            )
        ),
        (
            "SYNCKAIROS_ROOT_PATH",
            "/v1",
            "SYNCKAIROS_ROOT_PATH: should not begin with /v1, which is a path of the server",
        ),
        ("SYNCKAIROS_ROOT_PATH", "/ws/x", "SYNCKAIROS_ROOT_PATH: should not begin with /ws, which is a path of the"),
        ("SYNCKAIROS_KEY_PREFIX", "a\n", "SYNCKAIROS_KEY_PREFIX: should be 1 to 64 letters"),
        ("SYNCKAIROS_KEY_PREFIX", "a{b}", "SYNCKAIROS_KEY_PREFIX: should be 1 to 64 letters"),
        *(
            ("SYNCKAIROS_METRICS_TOKEN", text, "SYNCKAIROS_METRICS_TOKEN: should have at least 32 visible ASCII")
            for text in ("a" * 31, "a" * 31 + " ", "a" * 31 + "\n", "é" * 32, "a" * 7_901)
        ),
        *(
            ("SYNCKAIROS_MEMBERS_URL", f"{url}?secret=1", f"SYNCKAIROS_MEMBERS_URL: should {fault}")
            for url, fault in (
                ("http://a.example/", "begin with https"),
                ("https://u:p@a.example/", "be a URL with a host and"),
                ("https:///members", "be a URL with a host and"),
                ("https://{tenant}.example/", "have no braces except {tenant}"),
                ("https://a.example/{name}", "have no braces except {tenant}"),
            )
        ),
        ("SYNCKAIROS_MEMBERS_TOKEN", "a b", "SYNCKAIROS_MEMBERS_TOKEN: should have visible ASCII characters"),
        ("SYNCKAIROS_MEMBERS_HOUR", "24", "SYNCKAIROS_MEMBERS_HOUR: should be at most 23"),
        ("SYNCKAIROS_MEMBERS_TENANTS", "a,B", "SYNCKAIROS_MEMBERS_TENANTS: should be 1 to 63 lower-case letters"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: should be 'debug', 'info'"),
        ("DATABASE_POOL_MIN", "11", "DATABASE_POOL_MIN: 11 is more than DATABASE_POOL_MAX, 10"),
    ],
)
def test_invalid_value_is_reported_in_one_line_that_starts_with_its_variable(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as caught:
        config.load()
    assert caught.value.message.startswith(message)
    assert len(caught.value.message.splitlines()) == 1


def test_all_invalid_values_are_reported_together_without_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("REDIS_URL", "http://user:hidden@host")
    monkeypatch.setenv("DATABASE_URL", "mysql://user:hidden@host")
    monkeypatch.setenv("SYNCKAIROS_METRICS_TOKEN", "hidden")
    monkeypatch.setenv("SYNCKAIROS_MEMBERS_URL", "http://user:hidden@host/")
    monkeypatch.setenv("SYNCKAIROS_MEMBERS_TOKEN", "hidden by a space")
    with pytest.raises(BadSettings) as caught:
        config.load()
    assert [line.split(":")[0] for line in caught.value.message.splitlines()] == [
        *("PORT", "REDIS_URL", "DATABASE_URL", "SYNCKAIROS_METRICS_TOKEN"),
        *("SYNCKAIROS_MEMBERS_URL", "SYNCKAIROS_MEMBERS_TOKEN"),
    ]
    assert "hidden" not in caught.value.message


def test_several_tenants_need_the_tenant_in_the_url_of_the_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCKAIROS_MEMBERS_TENANTS", "north,south")
    monkeypatch.setenv("SYNCKAIROS_MEMBERS_URL", "https://a.example/members")
    with pytest.raises(BadSettings, match=r"should have \{tenant\}, because SYNCKAIROS_MEMBERS_TENANTS"):
        config.load()
    monkeypatch.setenv("SYNCKAIROS_MEMBERS_URL", "https://a.example/members?of={tenant}")
    assert config.load().members_tenants == ["north", "south"]


def test_representation_of_settings_has_no_secrets() -> None:
    settings = Settings(
        jwt_secret="hidden",
        metrics_token="hidden" * 6,
        members_token="hidden",
        redis_url="redis://:hidden@h/0",
        database_url="postgresql://u:hidden@h/d",
    )
    assert "hidden" not in f"{settings!r} {settings}"


def test_environment_has_precedence_over_the_file_under_either_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("SYNCKAIROS_PORT=1\nREDIS_URL=redis://file/0\nSYNCKAIROS_ALLOWED_ORIGINS=https://a.example\n")
    settings = config.load(file)
    assert (settings.port, settings.redis_url) == (1, "redis://file/0")
    assert settings.allowed_origins == ["https://a.example"]
    assert config.is_set(settings, "redis_url")
    monkeypatch.setenv("PORT", "2")
    assert config.load(file).port == 2
    assert config.load(file, port=3).port == 3


def test_file_is_not_read_unless_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORT=1\n")
    monkeypatch.chdir(tmp_path)
    assert config.load().port == 3000
    assert config.load(tmp_path / "missing").port == 3000


def test_is_set_tells_a_given_value_from_an_equal_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not config.is_set(config.load(), "redis_url")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:6379/0")
    assert config.is_set(config.load(), "redis_url")


def test_environ_gives_a_child_process_equal_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.load(
        port=0,
        jwt_secret="hidden",
        jwks=[{"url": "https://a.example/jwks", "issuer": "https://a.example", "tenants": ["a", "b"]}],
        jwt_public_key="-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
        jwt_issuers=["https://a.example"],
        allowed_origins=["https://a.example", "http://b.example"],
        insecure=True,
        redis_timeout_s=0.25,
    )
    for name, value in settings.to_environment_variables().items():
        monkeypatch.setenv(name, value)
    assert config.load() == settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_address_is_accepted_without_authentication(host: str) -> None:
    assert config.load(host=host).refuse_unprotected_exposure().host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_address_needs_insecure(host: str) -> None:
    with pytest.raises(BadSettings, match="--insecure"):
        config.load(host=host).refuse_unprotected_exposure()
    assert config.load(host=host, insecure=True).refuse_unprotected_exposure().is_exposed_to_network


def test_other_address_needs_no_insecure_if_tokens_are_required() -> None:
    assert config.load(host="0.0.0.0", auth="required").refuse_unprotected_exposure().is_exposed_to_network


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("a.example", "a.example"),
    ],
)
def test_local_host_is_loopback_only_for_all_addresses(host: str, local: str) -> None:
    assert config.load(host=host, insecure=True).local_connect_host == local


def test_misspelled_variables_are_found() -> None:
    environ = {"SYNCKAIROS_PROT": "1", "SYNCKAIROS_PORT": "1", "PORT": "1", "PATH": "/bin"}
    assert config.unknown_variables(environ) == ["SYNCKAIROS_PROT"]


def test_variable_of_a_command_is_not_an_unknown_setting() -> None:
    assert config.unknown_variables({"SYNCKAIROS_TOKEN": "x", "SYNCKAIROS_TOKENS": "x"}) == ["SYNCKAIROS_TOKENS"]
