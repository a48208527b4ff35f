"""Checks of `synckairos doctor` about releases: that of the store, and those of the running processes."""

from synckairos import __version__
from synckairos.admin.check_result import CheckResult
from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.store.connect import make_pipe
from synckairos.store.keys import Keys
from synckairos.store.running_releases import RunningReleases
from synckairos.store.store_format import STORE_FORMAT, has_newer_format


async def check_releases(settings: Settings, keys: Keys) -> list[CheckResult]:
    """Check that this release reads the format of the store, and that all running processes have this release."""
    try:
        async with make_pipe(settings.redis_url, settings.redis_timeout_s) as pipe:
            is_newer = await has_newer_format(pipe, keys)
            running = await RunningReleases(pipe, keys).read()
    except StoreUnavailable as error:
        return [CheckResult("releases", False, error.message, "start Redis")]
    checks = []
    if is_newer:
        result = f"release {__version__} reads formats up to {STORE_FORMAT}, and the store has a newer one"
        remedy = "run the release that wrote it; an earlier release cannot use this store any more"
        checks.append(CheckResult("store format", False, result, remedy))
    result = f"running: {', '.join(running)}" if running else "no process runs"
    if any(each.split(" ")[-1] != __version__ for each in running):
        remedy = "complete the upgrade, or roll it back (docs/operate/upgrade.md)"
        checks.append(CheckResult("releases", False, f"{result}; this command is {__version__}", remedy))
    else:
        checks.append(CheckResult("releases", True, result))
    return checks
