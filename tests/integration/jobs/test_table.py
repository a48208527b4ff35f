"""The job table if Postgres is unavailable."""

import pytest

from synckairos.errors import StoreUnavailable
from synckairos.jobs.table import JobTable, open_job_pool


async def test_the_job_table_without_postgres_raises_store_unavailable() -> None:
    async with open_job_pool("postgresql://user@127.0.0.1:1/none") as pool:
        pool.timeout = 0.2
        with pytest.raises(StoreUnavailable):
            await JobTable(pool).list_jobs()
