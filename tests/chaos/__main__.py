"""`make chaos`: runs each fault with several seeds, then each seeded bug, and prints a report.

Exit code 1 if a run broke a promise, or if the checker missed a seeded bug.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from synckairos.config import Settings
from synckairos.embedded import Postgres, create_temporary_dir
from synckairos.postgres.migrate import migrate
from tests.chaos.bugs import BUGS, SeededBug
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.fleet import copy_tree, running_fleet
from tests.chaos.run import Result, failed_run, run
from tests.earlier_releases import ROOT

LIMIT = 1_000_000

RUN_TIMEOUT_S = 600.0
"""Seconds after which a run that did not end is a violation."""


@contextmanager
def own_folder() -> Iterator[Path]:
    folder = create_temporary_dir()
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


async def run_once(faults: Sequence[Fault], seed: int, bug: SeededBug | None = None) -> Result:
    """Run on stores of its own. `bug` is planted in the source of the processes. An error is a violation too."""
    try:
        async with asyncio.timeout(RUN_TIMEOUT_S):
            return await _run_on_own_stores(faults, seed, bug)
    except Exception as error:  # noqa: BLE001 - it is reported
        return failed_run(error)


async def _run_on_own_stores(faults: Sequence[Fault], seed: int, bug: SeededBug | None) -> Result:
    with own_folder() as folder:
        tree = ROOT
        if bug is not None:
            tree = copy_tree(folder / "tree")
            bug.plant(tree)
        with Postgres(folder / "postgres", durable=False) as postgres:
            await migrate(postgres.url)
            settings = Settings(
                port=0,
                database_url=postgres.url,
                rate_limit_general=LIMIT,
                rate_limit_switch=LIMIT,
                client_work_factor=LIMIT,
                archive_url=str(folder / "archive"),
            )
            async with running_fleet(folder, settings, postgres, tree=tree) as fleet:
                return await run(fleet, faults, seed)


def print_row(name: str, promise: str, results: Sequence[Result]) -> None:
    """Print one row of the report, and the violations below it."""
    operations, lost = (sum(getattr(each, field) for each in results) for field in ("operations", "lost"))
    slowest_s = max(each.converged_s for each in results)
    violations = [text for each in results for text in each.violations]
    print(f"{name:<48} {operations:>10} {lost:>6} {promise:>8} {slowest_s:>10.1f} {len(violations):>11}", flush=True)
    for violation in violations[:5]:
        print(f"    {violation.kind}: {violation.text}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of runs of each fault (3)")
    parser.add_argument("--seed", type=int, default=1, help="first seed (1)")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="only faults and bugs whose name has one of these texts"
    )
    parser.add_argument("--without-bugs", action="store_true", help="do not plant bugs")
    return parser.parse_args()


async def run_matrix(options: argparse.Namespace) -> bool:
    """Run the faults, alone and mixed, and the bugs. Return whether all promises were kept and all bugs found."""
    seeds = range(options.seed, options.seed + options.seeds)
    lossless = [each for each in FAULTS if not each.may_lose]
    rows = [(each.name, [each]) for each in FAULTS] + [("all faults without loss, one after another", lossless)]
    is_sound = True
    print(f"{'fault':<48} {'operations':>10} {'lost':>6} {'promised':>8} {'converge s':>10} {'violations':>11}")
    for name, faults in rows:
        if any(text in name for text in options.only):
            results = [await run_once(faults, seed) for seed in seeds]
            print_row(name, "any" if any(each.may_lose for each in faults) else "0", results)
            is_sound &= not any(each.violations for each in results)
    if options.without_bugs:
        return is_sound
    print(f"\n{'seeded bug':<72} found as")
    by_name = {each.name: each for each in FAULTS}
    for bug in BUGS:
        if any(text in bug.name for text in options.only):
            result = await run_once([by_name[bug.fault]], options.seed, bug)
            kinds = sorted({each.kind for each in result.violations})
            print(f"{bug.name:<72} {', '.join(kinds) or 'NOT FOUND'}", flush=True)
            is_sound &= bool(kinds)
    return is_sound


if __name__ == "__main__":
    sys.exit(not asyncio.run(run_matrix(parse_options())))
