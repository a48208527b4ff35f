"""A sampled mutation check of the clock: shows whether its unit tests fail if a rule of the clock is broken.

    python -m tests.mutants [--sample 300] [--seed 1] [--jobs 2] [--module timing.py]

Each mutant is the clock with one small bug: a flipped operator, a negated condition, a changed constant or a missing
argument. The unit tests of the clock run against each mutant. A mutant survives if all tests pass; surviving mutants
are printed, with their statement. `equivalent.py` lists mutants that behave as the clock does, which are not tested.
The last line of the output is JSON. Exits 1 if more than one mutant in 20 survived.
"""

import argparse
import json
import os
import random
import sys
import time
from collections import Counter

from tests.mutants.clock_tests import find_survivors
from tests.mutants.equivalent import is_equivalent
from tests.mutants.mutant import CLOCK, Mutant, make_mutants

MAX_SURVIVING_SHARE = 0.05
"""Maximum fraction of the tested mutants that survive."""


def main() -> None:
    """Choose a sample of mutants, run the tests against each mutant, and print a report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="number of mutants; 0 means all")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of mutants at the same time")
    parser.add_argument("--module", action="append", help="path of a module in synckairos/clock; default: all modules")
    options = parser.parse_args()
    modules = [CLOCK / each for each in options.module or ()] or sorted(CLOCK.rglob("*.py"))
    every = [mutant for path in modules for mutant in make_mutants(path)]
    distinct = [mutant for mutant in every if not is_equivalent(mutant)]
    count = min(options.sample or len(distinct), len(distinct))
    sample = random.Random(options.seed).sample(distinct, count)
    started = time.monotonic()
    survivors = find_survivors(sample, options.jobs, _report)
    lost = Counter(each.module for each in survivors)
    tested = sorted(Counter(each.module for each in sample).items())
    report = {
        "mutants": len(every),
        "equivalent": len(every) - len(distinct),
        "tested": count,
        "caught": count - len(survivors),
        "caught_by_module": {module: f"{number - lost[module]} of {number}" for module, number in tested},
        "survived": [str(each) for each in survivors],
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(report))
    sys.exit(len(survivors) > MAX_SURVIVING_SHARE * count)


def _report(mutant: Mutant, is_caught: bool) -> None:
    """Print a surviving mutant."""
    if not is_caught:
        print(f"survived: {mutant}: {mutant.statement()}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
