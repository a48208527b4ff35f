"""A sampled mutation check of the clock: shows whether the tests fail if a rule of the clock is broken.

    python -m tests.mutants [--sample 30] [--seed 1] [--laws]

Each mutant is a copy of `synckairos/clock` with one small bug: a flipped operator, a changed constant, a negated
condition or a missing argument. The clock's unit tests run against each mutant in a separate process. A mutant survives
if all tests pass; surviving mutants are printed. Without `--laws` the random histories do not run, so the tables alone
must fail. The last line of the output is JSON. Exits 1 if more than a tenth of the mutants survived.
"""

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CLOCK = Path("synckairos/clock")
# Modules without rules of the clock: plain data, or code that other tests cover.
EXCLUDED = {"__init__.py", "commands.py", "simulation.py"}
TIMEOUT_S = 120
"""Maximum seconds for the tests of one mutant. A mutant that needs more time counts as caught."""

MAX_SURVIVING_SHARE = 0.1
"""Maximum fraction of mutants that survive."""

FLIPS: dict[type[Any], type[Any]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug: its position, its kind, and the source text of the module with the bug."""

    path: Path
    line: int
    kind: str
    text: str


def make_mutants(path: Path) -> Iterator[Mutant]:
    """Yield all mutants of one module."""
    tree = ast.parse((ROOT / path).read_text())
    for position, node in enumerate(ast.walk(tree)):
        for kind in _mutation_kinds(node) if id(node) not in _inside_decorators(tree) else ():
            mutated = copy.deepcopy(tree)
            _mutate(list(ast.walk(mutated))[position], kind)
            yield Mutant(path, getattr(node, "lineno", 0), kind, ast.unparse(ast.fix_missing_locations(mutated)))


def _inside_decorators(tree: ast.AST) -> set[int]:
    """Return the ids of the nodes in class decorators. They contain no rules of the clock."""
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return {id(inner) for each in classes for decorator in each.decorator_list for inner in ast.walk(decorator)}


def _mutation_kinds(node: ast.AST) -> list[str]:
    """Return the kinds of bugs that can be inserted at a syntax node."""
    match node:
        case ast.Compare(ops=ops):
            return [f"flip {type(op).__name__}" for op in ops[:1] if type(op) in FLIPS]
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in FLIPS and not _is_typing(node):
            return [f"flip {type(op).__name__}"]
        case ast.If():
            return ["negate"]
        case ast.Constant(value=bool()):
            return ["negate constant"]
        case ast.Constant(value=int()):
            return ["one more"]
        case ast.Call(func=ast.Name(id="replace"), keywords=keywords) if len(keywords) > 1:
            return [f"omit {keyword.arg}" for keyword in keywords]
        case ast.Call(func=ast.Name(id="max" | "min")):
            return ["swap max and min"]
        case _:
            return []


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


def _mutate(node: ast.AST, kind: str) -> None:
    match node:
        case ast.Compare(ops=ops):
            ops[0] = FLIPS[type(ops[0])]()
        case ast.BinOp() | ast.BoolOp():
            node.op = FLIPS[type(node.op)]()
        case ast.If():
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() as value):
            node.value = value + 1
        case ast.Call(func=ast.Name(id="replace"), keywords=keywords):
            node.keywords = [each for each in keywords if f"omit {each.arg}" != kind]
        case ast.Call(func=ast.Name() as func):
            func.id = "min" if func.id == "max" else "max"


def is_caught(mutant: Mutant, tree: Path, laws: bool) -> bool:
    """Return whether the clock's tests fail with this mutant.

    `tree` is a copy of the source tree. `laws`: whether the random histories also run.
    """
    target = tree / mutant.path
    original = target.read_text()
    target.write_text(mutant.text)
    try:
        return not tests_pass(tree, laws)
    finally:
        target.write_text(original)


def tests_pass(tree: Path, laws: bool) -> bool:
    """Run the clock's tests in a copy of the source tree. Return whether all tests pass within `TIMEOUT_S`."""
    tests = ["tests/unit/clock", "tests/unit/wire/test_session_json.py"]
    excluded = [] if laws else ["--ignore=tests/unit/clock/test_engine_laws.py"]
    run = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--noconftest", *excluded, *tests]
    try:
        done = subprocess.run(
            run,
            cwd=tree,
            capture_output=True,
            timeout=TIMEOUT_S,
            env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    """Choose a sample of mutants, run the tests against each mutant, and print a report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=30, help="number of mutants; 0 means all")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample")
    parser.add_argument("--laws", action="store_true", help="also run the random histories")
    options = parser.parse_args()
    modules = sorted(path for path in (ROOT / CLOCK).glob("*.py") if path.name not in EXCLUDED)
    every = [mutant for path in modules for mutant in make_mutants(path.relative_to(ROOT))]
    sample = every if not options.sample else random.Random(options.seed).sample(every, min(options.sample, len(every)))
    started = time.monotonic()
    survivors = []
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        for part in ("synckairos", "tests", "docs", "clients/python", "pyproject.toml"):
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, tree / part)
        if not tests_pass(tree, options.laws):
            # Tests that fail without a mutant would count every mutant as caught.
            sys.exit("the tests fail without a mutant")
        for mutant in sample:
            if not is_caught(mutant, tree, options.laws):
                survivors.append(mutant)
                print(f"survived: {mutant.path}:{mutant.line} {mutant.kind}", file=sys.stderr, flush=True)
    report = {
        "mutants": len(every),
        "tested": len(sample),
        "caught": len(sample) - len(survivors),
        "survived": [f"{each.path.name}:{each.line} {each.kind}" for each in survivors],
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(report))
    sys.exit(len(survivors) > MAX_SURVIVING_SHARE * len(sample))


if __name__ == "__main__":
    main()
