"""Both clients keep each guarantee on each of their transports."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from synckairos.config import Settings
from synckairos.embedded import Valkey
from tests.conformance.adapter import LANES, Lane, bundle_javascript
from tests.conformance.scenarios import GUARANTEES, Guarantee, Stage
from tests.processes import Process


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_javascript(tmp_path_factory.mktemp("javascript"))


@pytest.fixture
def start_valkey(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Valkey]]:
    """Return a function that starts a Valkey which the test is allowed to kill."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Valkey(data_dir / tmp_path_factory.mktemp("valkey").name))


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.id)
@pytest.mark.parametrize("guarantee", GUARANTEES, ids=lambda guarantee: guarantee.name)
async def test_client_keeps_the_guarantee(
    guarantee: Guarantee,
    lane: Lane,
    javascript: Path,
    settings: Settings,
    tmp_path: Path,
    start_server: Callable[[Settings], Process],
    start_valkey: Callable[[], Valkey],
) -> None:
    await guarantee.scenario(Stage(lane, javascript, settings, tmp_path, start_server, start_valkey))
