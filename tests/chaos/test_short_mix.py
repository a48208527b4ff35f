"""A short mix of faults from a fixed seed. `make chaos` runs all faults."""

import random
from pathlib import Path
from uuid import uuid4

import pytest

from synckairos.config import Settings
from synckairos.embedded import Postgres
from tests.chaos.faults import FAULTS
from tests.chaos.fleet import running_fleet
from tests.chaos.run import run

pytestmark = pytest.mark.slow

SEED = 18


async def test_no_promise_is_broken_by_a_mix_of_faults(settings: Settings, postgres: Postgres, data_dir: Path) -> None:
    faults = [each for each in FAULTS if each.is_quick]
    random.Random(SEED).shuffle(faults)
    async with running_fleet(data_dir / f"chaos-{uuid4().hex[:8]}", settings, postgres) as fleet:
        result = await run(fleet, faults, SEED, sessions=2, operations=30)
    assert result.violations == []
    assert result.lost == 0
