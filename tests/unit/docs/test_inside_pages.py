"""The pages about the inside: the files, layers and Redis keys that they name exist in the source."""

import re
import tomllib

from synckairos.store.keys import Keys
from tests.unit.docs.pages import DOCUMENTS

ROOT = DOCUMENTS.parent
INSIDE = DOCUMENTS / "inside"
BASES = (ROOT, ROOT / "synckairos")


def test_each_source_file_that_a_page_names_exists() -> None:
    named = {
        (page.relative_to(DOCUMENTS), name)
        for page in DOCUMENTS.rglob("*.md")
        for name in re.findall(r"`([\w/]+/[\w]+\.(?:py|lua|sql))`", page.read_text())
    }
    assert named
    missing = [(page, name) for page, name in named if not any((base / name).exists() for base in BASES)]
    assert missing == []


def test_the_architecture_page_lists_the_layers_of_the_import_contract_in_order() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(re.findall(r"\w+", layer)) for layer in contracts[0]["layers"]]
    page = (INSIDE / "architecture.md").read_text()
    _, _, section = page.partition("## Layers\n")
    rows = re.findall(r"^\| (`.+?`) \|", section.partition("\n## ")[0], re.MULTILINE)
    listed = [set(re.findall(r"\w+", row)) for row in rows]
    assert [{"__main__"}, *listed] == layers
    beside = set(contracts[0]["exhaustive_ignores"])
    assert beside <= set(re.findall(r"`(\w+)`", section))


def test_the_redis_keys_page_names_each_key_of_a_session_and_a_partition() -> None:
    page = (INSIDE / "redis-keys.md").read_text()
    listed = set(re.findall(r"^\| `sk:([^`…]+)", page, re.MULTILINE))
    keys = Keys("sk", 1)
    of_partition = (
        keys.deadlines,
        keys.outbox,
        keys.outbox_bytes,
        keys.live_sessions,
        keys.generation,
        keys.recovery_lease,
    )
    of_text = (keys.session, keys.history, keys.idempotency_records, keys.feed_channel, keys.presence)
    whole_store = (
        keys.wake_up_channel,
        keys.fixed_settings,
        keys.running_releases,
        keys.older_instances_seen,
        keys.instance_heartbeats,
        keys.presence_message_count,
        keys.presence_channel,
    )
    names = [
        *(key(0).replace("{0}", "{p}") for key in of_partition),
        *(key("X").replace("{0}", "{p}").replace("X", "<session>") for key in of_text),
        *whole_store,
    ]
    assert {name.removeprefix("sk:") for name in names} <= listed
