"""Run the unit tests of the clock against mutants, each mutant in a fork of this process.

All tests are collected once. In a fork, a mutant replaces the code of one function, and then the tests that call this
function run: the fast ones first, the random histories last. A mutant outside of functions is inserted before the
modules of the clock are imported, and all tests are collected again.
"""

import gc
import math
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from itertools import zip_longest
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest
from hypothesis import Phase, settings

from tests.mutants.measurements import Measurements, Place, load_measurements, save_measurements
from tests.mutants.mutant import CLOCK, ROOT, Mutant

CPU_S = 120
"""Maximum seconds of CPU time for the tests of one mutant. A mutant that needs more time counts as caught."""

SLOWDOWN, LEAST_CPU_S = 3, 5
"""A test of a function with a bug may need this factor of its time without the bug, and at least these seconds of CPU
time. So an endless loop does not take all of `CPU_S`."""

MEMORY_BYTES = 2**30
"""Maximum address space in bytes of the tests of one mutant. A mutant that needs more counts as caught."""

OPTIONS = ("-q", "-p", "no:cacheprovider", "--noconftest", "--capture=no", "--tb=no", "--assert=plain")
TESTS = (
    "tests/unit/clock",
    "tests/unit/audit/test_replay_check.py",
    "tests/unit/audit/test_replay_editions.py",
    "tests/unit/client/test_transition_vectors.py",
    "tests/unit/wire/test_session_json.py",
    "tests/unit/wire/test_simulation_run.py",
)
"""Unit tests of the clock, and unit tests of replays, vectors and simulations that run it."""

PASSED, FAILED, BROKEN = 0, 1, 3
"""Exit codes of a fork: all tests passed, a test failed, and the check itself failed."""


def find_survivors(mutants: Sequence[Mutant], jobs: int, report: Callable[[Mutant, bool], None]) -> list[Mutant]:
    """Run the tests against each mutant in at most `jobs` processes. Return the mutants with which all tests pass.

    Call `report` with each mutant and whether it was caught. Raise RuntimeError if a test fails without a mutant.
    """
    for module in sys.modules:
        assert not module.startswith("synckairos.clock"), "modules of the clock must be imported in forks only"
    # A failing history is not made shorter, because only the failure counts.
    settings.register_profile("mutants", phases=[Phase.generate])
    settings.load_profile("mutants")
    survivors: list[Mutant] = []

    def note(mutant: Mutant, code: int) -> None:
        if code == BROKEN:
            raise RuntimeError(f"the tests could not run against {mutant}")
        if code == PASSED:
            survivors.append(mutant)
        report(mutant, code != PASSED)

    in_functions = [each for each in mutants if each.function is not None]
    elsewhere = [each for each in mutants if each.function is None]
    # A further fork collects the tests, because this process must not import the modules of the clock.
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        os.close(reader)
        _collect_and_run(in_functions, jobs, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as results:
        for line in results:
            position, code = map(int, line.split())
            note(in_functions[position], code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != PASSED:
        raise RuntimeError("a test fails without a mutant, or the tests could not run")
    for position, code in run_forks([partial(_tests_pass_with_module, each) for each in elsewhere], jobs):
        note(elsewhere[position], code)
    return survivors


def run_forks(checks: Sequence[Callable[[], bool]], jobs: int) -> Iterator[tuple[int, int]]:
    """Run each check in a fork, at most `jobs` at the same time. Yield the position and exit code of each."""
    running: dict[int, int] = {}
    waiting = iter(enumerate(checks))
    while True:
        while len(running) < jobs and (following := next(waiting, None)) is not None:
            position, check = following
            if not (pid := os.fork()):
                _run_fork(check)
            running[pid] = position
        if not running:
            return
        pid, status = os.wait()
        yield running.pop(pid), os.waitstatus_to_exitcode(status)


def _run_fork(check: Callable[[], bool]) -> None:
    """Run a check with limits, and exit."""
    code = BROKEN
    stderr = os.dup(2)
    try:
        _limit_cpu_time(CPU_S)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        _silence()
        code = PASSED if check() else FAILED
    except MemoryError:
        code = FAILED
    finally:
        if code == BROKEN:
            os.dup2(stderr, 2)
            traceback.print_exc()
        os._exit(code)


def _limit_cpu_time(seconds: float) -> None:
    """End this process when its CPU time reaches `seconds`, counted from its begin, or `CPU_S`."""
    resource.setrlimit(resource.RLIMIT_CPU, (min(CPU_S, math.ceil(seconds)), CPU_S + 5))


def _silence() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _collect_and_run(mutants: Sequence[Mutant], jobs: int, writer: int) -> None:
    """Collect the tests, run them without a mutant, and then against each mutant. Write the results, and exit."""
    code = BROKEN
    try:
        stderr = os.dup(2)
        _silence()
        plugin = MutantLoop(mutants, jobs, writer)
        done = pytest.main([*OPTIONS, *(str(ROOT / each) for each in TESTS)], plugins=[plugin])
        os.dup2(stderr, 2)
        code = PASSED if plugin.is_complete else FAILED
        if not plugin.is_complete:
            print(f"pytest ended with {done!r}: {plugin.failed}", file=sys.stderr)
    finally:
        os._exit(code)


class Failures:
    """A plugin that notes the tests that failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def run(self, items: Sequence[pytest.Item], seconds: Sequence[float] = ()) -> bool:
        """Run tests until one fails. Return whether all passed.

        `seconds` has the time of each test without a mutant. A test that needs much more CPU time ends this process.
        """
        for item, following, usual_s in zip_longest(items, items[1:], seconds):
            if usual_s is not None:
                _limit_cpu_time(time.process_time() + max(LEAST_CPU_S, SLOWDOWN * usual_s))
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return False
        return True


class MutantLoop(Failures):
    """A plugin that runs the tests against mutants. `is_complete` is True after the last mutant."""

    def __init__(self, mutants: Sequence[Mutant], jobs: int, writer: int) -> None:
        super().__init__()
        self.is_complete = False
        self._mutants, self._jobs, self._writer = mutants, jobs, writer

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if self.failed:
            return True
        tests = [each.nodeid for each in session.items]
        if (measured := load_measurements(tests)) is None:
            if (measured := self._measure(session.items)) is None:
                return True
            save_measurements(tests, measured)
        seconds, callers = measured
        histories = callers.get(("", ""), set())
        functions = _functions_of_clock()

        def check(mutant: Mutant) -> bool:
            _insert(mutant, functions)
            positions = callers.get((str(mutant.path), mutant.function or ""), set()) | histories
            order = sorted(positions, key=lambda at: (at in histories, seconds[at]))
            return self.run([session.items[at] for at in order], [seconds[at] for at in order])

        for position, code in run_forks([partial(check, each) for each in self._mutants], self._jobs):
            os.write(self._writer, f"{position} {code}\n".encode())
        self.is_complete = True
        return True

    def _measure(self, items: list[pytest.Item]) -> Measurements | None:
        """Run all tests in a fork. Return the seconds of each, and the tests that call each function.

        The place `("", "")` has the random histories, which call most functions. Return None if a test fails.
        """
        reader, writer = os.pipe()
        if not (pid := os.fork()):
            os.close(reader)
            _run_fork(lambda: self._write_measures(items, writer))
        os.close(writer)
        with os.fdopen(reader, "rb") as results:
            written = results.read()
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != PASSED:
            self.failed += written.decode().split("\n")
            return None
        measured: Measurements = pickle.loads(written)
        return measured

    def _write_measures(self, items: list[pytest.Item], writer: int) -> bool:
        seconds: list[float] = []
        callers: dict[Place, set[int]] = defaultdict(set)
        for position, item in enumerate(items):
            seen: set[CodeType] = set()
            is_history = is_random_history(item)

            def note_call(frame: FrameType, event: str, arg: Any, seen: set[CodeType] = seen) -> None:
                seen.add(frame.f_code)

            started = time.process_time()
            sys.settrace(None if is_history else note_call)
            passed = self.run([item])
            sys.settrace(None)
            seconds.append(time.process_time() - started)
            if not passed:
                os.write(writer, "\n".join(self.failed).encode())
                return False
            places = {(each.co_filename, each.co_qualname.partition(".<locals>")[0]) for each in seen}
            in_clock = {each for each in places if each[0].startswith(str(CLOCK))}
            for place in [("", "")] if is_history else in_clock:
                callers[place].add(position)
        with os.fdopen(writer, "wb") as results:
            pickle.dump((seconds, dict(callers)), results)
        return True


def is_random_history(item: pytest.Item) -> bool:
    """Return whether a test plays random histories, to check laws or to compare the engine with ticking sessions."""
    return "_laws.py" in item.nodeid or "_oracle.py" in item.nodeid


def _functions_of_clock() -> list[FunctionType]:
    """Return all functions of the imported modules of the clock."""
    return [
        each
        for each in gc.get_objects()
        if type(each) is FunctionType and each.__code__.co_filename.startswith(str(CLOCK))
    ]


def _insert(mutant: Mutant, functions: list[FunctionType]) -> None:
    """Replace the code of the function that has the bug, and of functions that it made on import."""
    assert mutant.function is not None
    changed = {(each.co_qualname, each.co_firstlineno): each for each in _all_code(mutant.compile())}
    replaced = 0
    for function in functions:
        code = function.__code__
        if code.co_filename == str(mutant.path) and code.co_qualname.partition(".<locals>")[0] == mutant.function:
            function.__code__ = changed[code.co_qualname, code.co_firstlineno]
            replaced += 1
    if not replaced:
        raise RuntimeError(f"no function for {mutant}")


def _all_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _all_code(each)


class _MutantFinder(MetaPathFinder, Loader):
    """Imports one module with a bug."""

    def __init__(self, mutant: Mutant) -> None:
        relative = mutant.path.relative_to(ROOT).with_suffix("")
        self._name = ".".join(relative.parts).removesuffix(".__init__")
        self._is_package = mutant.path.name == "__init__.py"
        self._mutant = mutant

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        return ModuleSpec(name, self, origin=str(self._mutant.path), is_package=self._is_package)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._mutant.compile(), module.__dict__)


class FastTestsFirst(Failures):
    """A plugin that runs the random histories last and stops at the first failure."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=is_random_history)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        return self.failed != [] or self.run(session.items) or True


def _tests_pass_with_module(mutant: Mutant) -> bool:
    sys.meta_path.insert(0, _MutantFinder(mutant))
    plugin = FastTestsFirst()
    done = pytest.main([*OPTIONS, *(str(ROOT / each) for each in TESTS)], plugins=[plugin])
    return not plugin.failed and done in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
