"""Commands `synckairos revocations …` on real stores."""

import orjson
import pytest

from synckairos.admin import revocations
from synckairos.config import Settings
from synckairos.errors import Forbidden, ValidationFailed
from synckairos.wire.control_entry import Disconnection, EffectiveEntry
from tests.integration.revocations.nodes import open_node, until


async def test_created_revocation_reaches_an_instance_and_the_list_names_its_command(settings: Settings) -> None:
    with_auth = settings.model_copy(update={"auth": "required"})
    async with open_node(settings) as node:
        found: list[EffectiveEntry] = []
        node.channel.add_listener(found.append)
        await revocations.create_revocation(with_auth, "default", {"jti": "t1"}, None)
        await revocations.create_revocation(with_auth, "default", {"subject": "alice"}, "2026-01-31")
        await revocations.disconnect(with_auth, "default", "bob")
        await until(lambda: len(found) == 3 and node.knows("t1"))
    listed = [orjson.loads(line) for line in await revocations.list_revocations(with_auth, "default", as_json=True)]
    assert {each["revoked_by"] for each in listed} == {"revocations"}
    assert [each["issued_before"] for each in listed if "subject" in each] == ["2026-01-31T00:00:00.000Z"]
    assert any(isinstance(each, Disconnection) and each.subject == "bob" for each in found)


async def test_invalid_subject_is_refused(settings: Settings) -> None:
    with pytest.raises(ValidationFailed):
        await revocations.disconnect(settings.model_copy(update={"auth": "required"}), "default", "a b")


async def test_command_is_refused_while_authentication_is_off(settings: Settings) -> None:
    with pytest.raises(Forbidden):
        await revocations.list_revocations(settings, "default")
