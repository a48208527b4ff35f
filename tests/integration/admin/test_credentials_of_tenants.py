"""Commands `synckairos keys|links|console|revocations … --tenant`, on real stores."""

import orjson
import pytest

from synckairos.admin import api_keys, links, revocations
from synckairos.config import Settings
from synckairos.errors import CredentialNotFound
from tests.integration.stored_credentials.credential_nodes import SESSION, CredentialNode, open_credential_node

URL = "https://clock.example.org"


async def tenant_of(node: CredentialNode, text: str) -> str:
    """Return the tenant of the principal of a credential, after the redemption if it is the URL of a link."""
    if "#link=" in text:
        text = await node.redeem(text.partition("#link=")[2])
    return (await node.authenticate(text)).tenant


async def test_credentials_belong_to_the_tenant_that_a_command_names(settings: Settings) -> None:
    settings = settings.model_copy(update={"auth": "required"})
    async with open_credential_node(settings) as node:
        key = await api_keys.create_key(settings, "acme", {"role": "controller"}, ["*"], None)
        link = await links.create_link(settings, "acme", URL, {"session_id": SESSION, "role": "viewer"}, None)
        console = await links.create_sign_in_link(settings, "acme", URL)
        assert [await tenant_of(node, each) for each in (key, link, console)] == ["acme"] * 3
        (listed,) = [orjson.loads(each) for each in await api_keys.list_keys(settings, "acme", as_json=True)]
        (of_link,) = [orjson.loads(each) for each in await links.list_links(settings, "acme", None, as_json=True)]
        assert await api_keys.list_keys(settings, "default") == []
        assert await links.list_links(settings, "default", None) == []
        for call in (
            api_keys.revoke_key(settings, "default", listed["key_id"]),
            api_keys.rotate_key(settings, "default", listed["key_id"]),
            links.revoke_link(settings, "default", of_link["link_id"]),
        ):
            with pytest.raises(CredentialNotFound):
                await call
        rotated = await api_keys.rotate_key(settings, "acme", listed["key_id"])
        assert await tenant_of(node, rotated) == "acme"
        await api_keys.revoke_key(settings, "acme", listed["key_id"])
        await links.revoke_link(settings, "acme", of_link["link_id"])
        assert await node.refusal_of(key) == await node.refusal_of(rotated) == "UNAUTHORIZED"
        assert await node.redemption_refusal_of(link.partition("#link=")[2]) != ""
        await revocations.create_revocation(settings, "acme", {"all": True}, None)
        assert len(await revocations.list_revocations(settings, "acme")) == 3
        assert await revocations.list_revocations(settings, "default") == []
