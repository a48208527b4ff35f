"""The page about Redis has the rule of permissions and the options of URLs as in the code."""

import re

from synckairos.store.keys import Keys
from synckairos.store.permissions import Permissions
from synckairos.urls.redis_url import OPTIONS, parse_redis_url
from tests.unit.docs.pages import DOCUMENTS

PAGE = (DOCUMENTS / "operate" / "redis.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_redis_page_has_the_rule_that_the_doctor_prints() -> None:
    assert f"\n{Permissions(Keys(), store=True, queue=True).render_acl_rule()}\n" in section("Permissions")


def test_the_redis_page_names_the_permissions_that_differ_in_a_cluster() -> None:
    on_one_server = Permissions(Keys(), store=True, queue=False).redis_commands
    in_cluster = Permissions(Keys(), store=True, queue=False, is_cluster=True).redis_commands
    text = " ".join(f"+{name}" for name in sorted(in_cluster - on_one_server))
    assert f"A Redis Cluster needs `{text}`, and not" in section("Permissions")


def test_the_redis_page_lists_each_option_of_a_url() -> None:
    cells = re.findall(r"^\| (`.+?) \|", section("Options"), re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(OPTIONS)


def test_each_url_of_the_redis_page_is_valid() -> None:
    urls = re.findall(r"`((?:rediss?|unix)://[^`]+:?[^`/]*)`", section("URLs"))
    assert len(urls) > 5
    for url in urls:
        parse_redis_url(url)
