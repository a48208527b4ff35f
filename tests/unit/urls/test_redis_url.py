"""Redis URLs: the value of every part, and the error text of each fault."""

import ssl
from pathlib import Path

import pytest

from synckairos.urls.redis_url import RedisAddress, Sentinels, TlsOptions, parse_redis_url, validate_single_redis_url
from tests.certificates import Certificates, create_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return create_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", RedisAddress()),
        ("redis://h", RedisAddress("h")),
        ("redis://h:1/3", RedisAddress("h", 1, db=3)),
        ("redis://h:1/3?db=4", RedisAddress("h", 1, db=4)),
        ("redis://:secret@h/0", RedisAddress("h", password="secret")),
        ("redis://user:p%40%2F%23%3F%25@h", RedisAddress("h", username="user", password="p@/#?%")),
        ("redis://us%3Aer:%C3%A4@h", RedisAddress("h", username="us:er", password="ä")),
        ("redis://user:p@ss@h:1", RedisAddress("h", 1, username="user", password="p@ss")),
        ("redis://user@h", RedisAddress("h", username="user")),
        ("redis://h?username=user&password=p%40", RedisAddress("h", username="user", password="p@")),
        ("redis://[::1]:7000/1", RedisAddress("::1", 7000, db=1)),
        ("redis://[fe80::1%25eth0]", RedisAddress("fe80::1%eth0")),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        ("unix:///run/my%20redis.sock?db=1", RedisAddress(path="/run/my redis.sock", db=1)),
        ("unix://user:pw@/r.sock?db=2", RedisAddress(path="/r.sock", db=2, username="user", password="pw")),
        ("rediss://h", RedisAddress("h", tls=TlsOptions())),
        ("rediss://h/2?ssl_ca_certs=ca.crt", RedisAddress("h", db=2, tls=TlsOptions("ca.crt"))),
        (
            "rediss://h?ssl_certfile=a.crt&ssl_keyfile=%2Fb.key&ssl_check_hostname=False",
            RedisAddress("h", tls=TlsOptions(None, "a.crt", "/b.key", check_hostname=False)),
        ),
        (
            "rediss://h?ssl_cert_reqs=none",
            RedisAddress("h", tls=TlsOptions(verify_mode=ssl.CERT_NONE, check_hostname=False)),
        ),
        (
            "redis+sentinel://h1:1,h2/mymaster",
            RedisAddress(sentinels=Sentinels("mymaster", (("h1", 1), ("h2", 26379)))),
        ),
        (
            "redis+sentinel://user:p%40@[::1]:2,h2:3/my%20master/4?sentinel_username=u&sentinel_password=p%2F",
            RedisAddress(
                db=4,
                username="user",
                password="p@",
                sentinels=Sentinels("my master", (("::1", 2), ("h2", 3)), "u", "p/"),
            ),
        ),
        (
            "rediss+sentinel://:pw@h/m?ssl_ca_certs=ca.crt&db=2",
            RedisAddress(db=2, password="pw", tls=TlsOptions("ca.crt"), sentinels=Sentinels("m", (("h", 26379),))),
        ),
        ("redis+cluster://h1:1,h2", RedisAddress("h1", 1, cluster_nodes=(("h1", 1), ("h2", 6379)))),
        (
            "redis+cluster://user:p%40@[::1]:2/0",
            RedisAddress("::1", 2, username="user", password="p@", cluster_nodes=(("::1", 2),)),
        ),
        (
            "rediss+cluster://:pw@h/?ssl_ca_certs=ca.crt",
            RedisAddress("h", password="pw", tls=TlsOptions("ca.crt"), cluster_nodes=(("h", 6379),)),
        ),
    ],
)
def test_each_part_of_a_url_is_parsed(url: str, address: RedisAddress) -> None:
    assert parse_redis_url(url) == address


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://h", "should be a URL that begins with redis://"),
        ("h:6379", "should be a URL that begins with redis://"),
        ("redis+sentinel://h:1", "should have the name of the service after the sentinels, such as /mymaster/0"),
        ("redis+sentinel://h:1/", "should have the name of the service"),
        ("redis+sentinel://h:0,g/m", "should have a port between 1 and 65535"),
        ("redis+sentinel://h,/m", "should have sentinels such as host1:26379,host2:26379"),
        ("redis+sentinel:///m", "should have sentinels such as host1:26379,host2:26379"),
        ("redis+sentinel://h/m/x", "should have a database number"),
        ("redis+sentinel://h/m?ssl_ca_certs=a", "should begin with rediss://"),
        ("redis+sentinel://:hid#den@h/m", "should have no #"),
        ("redis+cluster://h:0,g", "should have a port between 1 and 65535"),
        ("redis+cluster://h,", "should have nodes such as host1:6379,host2:6379"),
        ("redis+cluster://h/1", "should have no database number"),
        ("redis+cluster://h?db=1", "should not have the option db"),
        ("redis+cluster://h?ssl_ca_certs=a", "should begin with rediss://"),
        ("redis+cluster://:hid#den@h", "should have no #"),
        ("redis://h?sentinel_password=x", "should not have the option sentinel_password"),
        ("redis://h:port", "should have a port between 1 and 65535"),
        ("redis://h:0", "should have a port between 1 and 65535"),
        ("redis://h:65536", "should have a port between 1 and 65535"),
        ("redis://[::1/0", "should have a port between 1 and 65535"),
        ("redis://:hid/den@h:1/0", "should have a port between 1 and 65535; in a password, / is written as %2F"),
        ("redis://u:1/hidden@h:1/0", "should have a database number"),
        ("redis://u:1#hidden@h:1/0", "should have no #"),
        ("redis://u:1?hidden@h:1/0", "should not have the option; the options are db, username, password;"),
        ("redis://u:hi℀dden@h", "should have a port"),
        ("redis://u:%FF@h", "should have a user and a password in UTF-8"),
        ("redis://a..b", "should have a host name without empty or very long parts"),
        (f"redis://{'a' * 64}.b", "should have a host name without empty or very long parts"),
        ("redis://h/one", "should have a database number"),
        ("redis://h?db=-1", "should have a database number"),
        ("redis://h?socket_timeout=5", "should not have the option socket_timeout; the options are db,"),
        ("redis://h?db=1&db=2", "should have db once"),
        ("redis://h?db=", "should have a value for db"),
        ("redis://h?ssl_ca_certs=ca.crt", "should begin with rediss://, because ssl_ca_certs is an option of TLS"),
        ("rediss://h?ssl_cert_reqs=maybe", "should have ssl_cert_reqs none, optional or required"),
        ("rediss://h?ssl_check_hostname=maybe", "should have ssl_check_hostname true or false"),
        ("rediss://h?ssl_check_hostname=1&ssl_cert_reqs=none", "should not have ssl_check_hostname together with"),
        ("rediss://h?ssl_keyfile=a.key", "should have ssl_certfile together with ssl_keyfile"),
        ("unix://run/redis.sock", "should have an absolute path after unix://"),
        ("unix://", "should have an absolute path after unix://"),
        ("unix:///a?ssl_cert_reqs=none", "should begin with rediss://"),
    ],
)
def test_fault_is_described_without_the_password(url: str, fault: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is compared below
        parse_redis_url(url)
    assert str(caught.value).startswith(fault)
    assert "hid" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_redis_cluster_is_refused_where_one_server_is_needed() -> None:
    assert validate_single_redis_url("redis://h") == "redis://h"
    with pytest.raises(ValueError, match="should be set to a Redis without Cluster"):
        validate_single_redis_url("redis+cluster://h")


def test_representation_of_an_address_does_not_show_the_password() -> None:
    assert "hidden" not in repr(parse_redis_url("redis://:hidden@h"))


def test_tls_context_trusts_only_the_given_authority(certificates: Certificates) -> None:
    context = TlsOptions(str(certificates.authority)).build_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "SyncKairos test CA"),),)]


def test_key_in_the_file_of_the_certificate_is_accepted(certificates: Certificates, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.client.read_bytes() + certificates.client_key.read_bytes())
    TlsOptions(certfile=str(both)).build_context()


def test_unusable_file_is_described_with_its_option(certificates: Certificates, tmp_path: Path) -> None:
    missing, text = tmp_path / "missing", tmp_path / "text"
    text.write_text("no certificate")
    cases = [
        (TlsOptions(str(missing)), f"ssl_ca_certs: {missing}: No such file"),
        (TlsOptions(str(tmp_path)), f"ssl_ca_certs: {tmp_path}: Is a directory"),
        (TlsOptions(str(text)), f"ssl_ca_certs: {text} contains no PEM certificate"),
        (TlsOptions(None, str(certificates.client), str(missing)), f"ssl_keyfile: {missing}: No such file"),
        (TlsOptions(None, str(certificates.client)), f"ssl_certfile: {certificates.client} is not a PEM certificate"),
        (
            TlsOptions(None, str(certificates.client), str(certificates.server_key)),
            f"ssl_certfile: {certificates.client} is not a PEM certificate for the unencrypted key in",
        ),
        (
            TlsOptions(None, str(certificates.client), str(certificates.encrypted_client_key)),
            f"ssl_certfile: {certificates.client} is not a PEM certificate for the unencrypted key in",
        ),
    ]
    for options, fault in cases:
        with pytest.raises(OSError) as caught:  # noqa: PT011  the text is compared below
            options.build_context()
        assert str(caught.value).startswith(fault)
