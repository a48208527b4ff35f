"""Socket commands of two callers with one command id."""

from synckairos.config import Settings
from synckairos.principal import Principal
from tests.integration.realtime.instances import serving
from tests.integration.realtime.v3_client import v3_client
from tests.principals import make_principal


def make_user(subject: str) -> Principal:
    return make_principal("admin", subject)


async def test_socket_command_with_the_id_of_another_caller_gets_a_separate_result(settings: Settings) -> None:
    async with (
        serving(settings, principal=make_user("alice")) as hers,
        serving(settings, principal=make_user("bob")) as his,
        v3_client(hers) as alice,
        v3_client(his) as bob,
    ):
        session_id = await hers.create()
        members = {"id": "press-17", "session_id": session_id}
        started = await alice.request("COMMAND", command="start", **members)
        paused = await bob.request("COMMAND", command="pause", **members)
        assert [each["type"] for each in (started, paused)] == ["ACK", "ACK"]
        assert paused["version"] == started["version"] + 1
        again = await alice.request("COMMAND", command="start", **members)
        assert (again["type"], again["version"]) == ("ACK", started["version"])
