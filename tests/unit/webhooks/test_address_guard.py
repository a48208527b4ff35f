"""Address guard: only the public internet is allowed, in each notation of an address and inside other addresses."""

from ipaddress import ip_address, ip_network

import pytest

from synckairos.webhooks.address_guard import AddressGuard, AddressRefused, is_public

STRICT = AddressGuard()
INTERNAL = AddressGuard((ip_network("127.0.0.0/8"), ip_network("fd00::/8")), http=True)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1"],
)
def test_public_address_is_allowed(address: str) -> None:
    assert is_public(ip_address(address))
    STRICT.check_addresses([ip_address(address)])


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
        "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
        "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
        "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::10.0.0.1",
        "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "3fff::1", "5f00::1",
        "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "ff0e::1",
    ],
)  # fmt: skip
def test_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(AddressRefused, match="public internet"):
        STRICT.check_addresses([ip_address(address)])


def test_addresses_are_refused_if_one_is_not_public_or_there_is_none() -> None:
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        STRICT.check_addresses([ip_address("1.1.1.1"), ip_address("10.0.0.1")])
    with pytest.raises(AddressRefused, match="no address"):
        STRICT.check_addresses([])


def test_listed_network_is_allowed_also_as_a_mapped_address() -> None:
    INTERNAL.check_addresses([ip_address("127.0.0.1"), ip_address("::ffff:127.0.0.1"), ip_address("fd12::1")])
    for address in ("10.0.0.1", "::1", "fe80::1", "::ffff:10.0.0.1"):
        with pytest.raises(AddressRefused):
            INTERNAL.check_addresses([ip_address(address)])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org", "https://example.org/", "https://example.org:8443/hooks?for=us", "https://a-b.c_d.org/%20",
        "https://xn--bcher-kva.example/", "https://1.1.1.1/", "https://[2606:4700:4700::1111]:443/", "https://4you.org/",
    ],
)  # fmt: skip
def test_url_is_allowed(url: str) -> None:
    STRICT.check_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org/", "https://"),
        ("HTTP://example.org/", "https://"),
        ("ftp://example.org/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("//example.org/", "https://"),
        ("example.org", "https://"),
        ("", "visible"),
        ("https://", "host"),
        ("https:///path", "host"),
        ("https://user@example.org/", "user name"),
        ("https://user:password@example.org/", "user name"),
        ("https://1.1.1.1@127.0.0.1/", "user name"),
        ("https://example.org#@10.0.0.1/", "fragment"),
        ("https://example.org/#here", "fragment"),
        ("https://example.org\\@10.0.0.1/", "backslashes"),
        ("https://exa mple.org/", "visible"),
        ("https://example.org/\r\nhost: x", "visible"),
        ("https://bücher.example/", "visible"),
        ("https://example.org/" + "x" * 2000, "at most"),
        ("https://example.org:/", "empty port"),
        ("https://example.org:0/", "port"),
        ("https://example.org:22/", "port"),
        ("https://example.org:25/", "port"),
        ("https://example.org:99999/", "URL"),
        ("https://example.org:x/", "URL"),
        ("https://[::1/", "URL"),
        ("https://-example.org/", "host"),
        ("https://example..org/", "host"),
        ("https://example.org./", "host"),
        ("https://exa%6dple.org/", "host"),
        ("https://127.0.0.1/", "public"),
        ("https://169.254.169.254/latest/meta-data", "public"),
        ("https://[::1]/", "public"),
        ("https://[::ffff:169.254.169.254]/", "public"),
        ("https://[fe80::1%25eth0]/", "interface"),
        ("https://2130706433/", "four plain numbers"),
        ("https://0x7f000001/", "four plain numbers"),
        ("https://0177.0.0.1/", "four plain numbers"),
        ("https://127.1/", "four plain numbers"),
        ("https://127.0.0.0x1/", "four plain numbers"),
        ("https://0x7f.0.0.1/", "four plain numbers"),
    ],
)
def test_url_is_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(AddressRefused, match=reason):
        STRICT.check_url(url)


def test_http_and_low_ports_are_allowed_if_the_operator_lists_them() -> None:
    INTERNAL.check_url("http://example.org/")
    INTERNAL.check_url("http://127.0.0.1:81/")
    with pytest.raises(AddressRefused, match="port"):
        INTERNAL.check_url("http://example.org:81/")
