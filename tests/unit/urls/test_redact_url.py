"""URLs are shown without passwords and other secrets."""

import pytest

from synckairos.urls.redact_url import redact_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h/0", "redis://h/0"),
        ("redis://:p@ss@h:1/0", "redis://:***@h:1/0"),
        ("redis://:p/a#s?s@h:1/0", "redis://:***@h:1/0"),
        ("redis://:p@[::1]:1/0", "redis://:***@[::1]:1/0"),
        ("redis://[::1]:1/0", "redis://[::1]:1/0"),
        ("unix://u:p/p@/run/redis.sock?db=1", "unix://u:***@/run/redis.sock?db=1"),
        ("unix:///run/redis.sock?password=p/@&db=1", "unix:///run/redis.sock?password=***&db=1"),
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@/d?host=%2Frun&password=p&port=1", "postgresql://u@/d?host=%2Frun&password=***&port=1"),
    ],
)
def test_redacted_url_hides_only_passwords(url: str, shown: str) -> None:
    assert redact_url(url) == shown
