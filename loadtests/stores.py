"""A store for one run, gone with it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from synckairos.config import Settings
from synckairos.embedded import Valkey, make_data_dir

NO_POSTGRES = "postgresql://127.0.0.1:1/nobody"


@contextmanager
def valkey_alone(**settings: Any) -> Iterator[Settings]:
    """Give settings for servers on a Valkey of their own and no Postgres; `settings` are more of them."""
    data = make_data_dir()
    try:
        with Valkey(data / "valkey") as valkey:
            ours = {"port": 0, "redis_url": valkey.url, "database_url": NO_POSTGRES, "log_level": "critical"}
            yield Settings.model_validate(ours | settings)
    finally:
        shutil.rmtree(data, ignore_errors=True)
