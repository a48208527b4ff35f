"""A sampled mutation check of the clock: does the suite notice when a rule is broken?

    python -m tests.mutants [--sample 30] [--seed 1] [--laws]

Each mutant is one small bug sown into one function of `synckairos/clock`: an operator flipped, a constant moved, a
condition negated, a line dropped. The clock's unit tests run against it in a process of its own, over a copy of the
tree; a mutant that they pass has survived, and is shown. Without `--laws` the random histories are left out: tables
alone then have to notice. Prints one JSON line at the end and exits 1 where more than a tenth survived.
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
# Not rules of the clock: data, and what is somebody else's to test.
LEFT_OUT = {"__init__.py", "commands.py", "simulation.py"}
TIMEOUT_S = 120
SURVIVORS_ALLOWED = 0.1

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
    """One bug: where it was sown, what it is, and the module's text with it."""

    path: Path
    line: int
    what: str
    text: str


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of one module."""
    tree = ast.parse((ROOT / path).read_text())
    for place, node in enumerate(ast.walk(tree)):
        for what in _ways(node) if id(node) not in _inside_decorators(tree) else ():
            mutated = copy.deepcopy(tree)
            _sow(list(ast.walk(mutated))[place], what)
            yield Mutant(path, getattr(node, "lineno", 0), what, ast.unparse(ast.fix_missing_locations(mutated)))


def _inside_decorators(tree: ast.AST) -> set[int]:
    """Return the ids of nodes that say what kind of class follows, not what a session does."""
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return {id(inner) for each in classes for decorator in each.decorator_list for inner in ast.walk(decorator)}


def _ways(node: ast.AST) -> list[str]:
    """Return the ways in which a node can be broken."""
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
            return [f"forget {keyword.arg}" for keyword in keywords]
        case ast.Call(func=ast.Name(id="max" | "min")):
            return ["swap max and min"]
        case _:
            return []


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


def _sow(node: ast.AST, what: str) -> None:
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
            node.keywords = [each for each in keywords if f"forget {each.arg}" != what]
        case ast.Call(func=ast.Name() as func):
            func.id = "min" if func.id == "max" else "max"


def notices(mutant: Mutant, tree: Path, laws: bool) -> bool:
    """Tell whether the clock's tests fail on this mutant, run over a copy of the source tree."""
    target = tree / mutant.path
    original = target.read_text()
    target.write_text(mutant.text)
    tests = ["tests/unit/clock", "tests/unit/wire/test_session_document.py"]
    left_out = [] if laws else ["--ignore=tests/unit/clock/test_engine_laws.py"]
    run = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--noconftest", *left_out, *tests]
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
        return True
    finally:
        target.write_text(original)
    return done.returncode != 0


def main() -> None:
    """Sow a sample of bugs, run the tests against each, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=30, help="how many mutants; 0 takes all there are")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--laws", action="store_true", help="run the random histories too")
    asked = parser.parse_args()
    modules = sorted(path for path in (ROOT / CLOCK).glob("*.py") if path.name not in LEFT_OUT)
    every = [mutant for path in modules for mutant in mutants_of(path.relative_to(ROOT))]
    sample = every if not asked.sample else random.Random(asked.seed).sample(every, min(asked.sample, len(every)))
    began = time.monotonic()
    survivors = []
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place)
        for part in ("synckairos", "tests", "docs", "pyproject.toml"):
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, tree / part)
        for mutant in sample:
            if not notices(mutant, tree, asked.laws):
                survivors.append(mutant)
                print(f"survived: {mutant.path}:{mutant.line} {mutant.what}", file=sys.stderr, flush=True)
    report = {
        "mutants": len(every),
        "sown": len(sample),
        "caught": len(sample) - len(survivors),
        "survived": [f"{each.path.name}:{each.line} {each.what}" for each in survivors],
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(report))
    sys.exit(len(survivors) > SURVIVORS_ALLOWED * len(sample))


if __name__ == "__main__":
    main()
