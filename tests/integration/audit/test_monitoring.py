"""The documented monitoring queries run, and find nothing wrong where nothing is."""

import re
from pathlib import Path

from synckairos.clock.commands import Start, Switch
from tests.integration.audit.author import chess
from tests.integration.audit.conftest import Audit

DOCUMENT = Path(__file__).parents[3] / "docs" / "audit.md"


async def test_the_documented_queries_find_nothing_wrong(audit: Audit) -> None:
    life = await audit.author.create(chess(), 1_700_000_000_000)
    await audit.author.apply(life, Start(), 1_700_000_001_000)
    await audit.author.apply(life, Switch(), 1_700_000_002_000)
    await audit.drain().run(0)
    (block,) = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    lag, *faults = block.split(";\n")
    assert len(await audit.rows(lag)) == 1
    faults = [query for query in faults if query.strip()]
    assert len(faults) == 4
    for query in faults:
        assert await audit.rows(query) == []
