"""Commands `synckairos tenants …` and `synckairos operator-keys …` on real stores."""

import orjson
import pytest

from synckairos.admin import operator_keys, tenants
from synckairos.config import Settings
from synckairos.errors import Forbidden, NotFound, ValidationFailed
from synckairos.jobs.runner import JobRunner
from tests.background_task import start
from tests.integration.jobs.job_components import JobComponents
from tests.integration.tenants.tenant_nodes import open_tenant_node

pytestmark = pytest.mark.serving_login


async def test_commands_change_tenants_and_reach_an_instance(settings: Settings) -> None:
    with_auth = settings.model_copy(update={"auth": "required"})
    async with open_tenant_node(settings, requires_registration=True) as node:
        fields = {"tenant": "acme", "description": "A school", "limits": tenants.parse_limits(("sockets=5",))}
        assert await tenants.create_tenant(with_auth, fields) == ["acme  active  sockets=5  A school"]
        await node.until_refusal_is("acme", "")
        assert await tenants.set_tenant_status(with_auth, "acme", "suspended") == [
            "acme  suspended  sockets=5  A school"
        ]
        await node.until_refusal_is("acme", "TENANT_SUSPENDED")
    changes = {
        "limits": tenants.parse_limits(("sockets=default", "live_sessions=7")),
        "origins": ["https://a.example"],
    }
    assert await tenants.update_tenant(with_auth, "acme", changes) == ["acme  suspended  live_sessions=7  A school"]
    assert await tenants.list_tenants(with_auth) == ["acme  suspended  live_sessions=7  A school"]
    (listed,) = [orjson.loads(line) for line in await tenants.list_tenants(with_auth, as_json=True)]
    assert [orjson.loads(line) for line in await tenants.show_tenant(with_auth, "acme", as_json=True)] == [listed]
    assert (listed["created_by"], listed["origins"]) == ("command-line", ["https://a.example"])
    lines = await tenants.show_tenant(with_auth, "acme")
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert (shown["status"], shown["live_sessions"], shown["sockets"]) == ("suspended", "7", "10,000")


async def test_deleted_tenant_is_closed_and_the_command_can_wait_for_the_job(
    settings: Settings, jobs: JobComponents
) -> None:
    with_auth = settings.model_copy(update={"auth": "required"})
    await tenants.create_tenant(with_auth, {"tenant": "acme"})
    assert await tenants.delete_tenant(with_auth, "acme") == ["acme  deleting"]
    waiting = await start(tenants.wait_for_deletion(with_auth, "acme"))
    (job,) = await jobs.job_table.list_jobs(type_="delete-tenant")
    await JobRunner(jobs.job_table, jobs.handlers.run, "worker").run_job(job.job_id)
    assert await waiting == ["acme  deleted"]
    assert await tenants.delete_tenant(with_auth, "acme") == ["acme  deleted"]
    with pytest.raises(Forbidden, match="The default tenant cannot be suspended or deleted"):
        await tenants.delete_tenant(with_auth, "default")


@pytest.mark.parametrize("text", ["sockets", "unknown=1", "sockets=", "sockets=many"])
def test_limit_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed):
        tenants.parse_limits((text,))


async def test_commands_on_tenants_are_refused_while_authentication_is_off(settings: Settings) -> None:
    with pytest.raises(Forbidden):
        await tenants.list_tenants(settings)


async def test_operator_key_is_made_listed_and_revoked(settings: Settings) -> None:
    with_auth = settings.model_copy(update={"auth": "required"})
    key = await operator_keys.make_operator_key(with_auth, "Ada", 86_400)
    key_id = key.split("_")[1]
    (line,) = await operator_keys.list_operator_keys(with_auth)
    assert line.startswith(f"{key_id}  created ")
    assert line.endswith("  Ada")
    assert ("expires" in line, key in line) == (True, False)
    await operator_keys.revoke_operator_key(with_auth, key_id)
    assert await operator_keys.list_operator_keys(with_auth) == []
    with pytest.raises(NotFound, match="There is no operator key 000000000000"):
        await operator_keys.revoke_operator_key(with_auth, "000000000000")
