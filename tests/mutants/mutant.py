"""Mutants of the modules of the clock: each has one small bug.

The bugs are a flipped operator, a negated condition, a changed constant, a missing argument, and `max` for `min`.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).parents[2]
CLOCK = ROOT / "synckairos" / "clock"

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
    """One bug: the file of its module, its line, its kind, and the statement with the bug.

    `position` is the position of the changed node in the order of `ast.walk`. `function` is the qualified name of the
    outermost function that has the bug in its body, None if the bug is outside of all functions, as a default value is.
    """

    path: Path
    position: int
    line: int
    kind: str
    function: str | None

    @property
    def module(self) -> str:
        """Return the path of the module within `synckairos/clock`."""
        return self.path.relative_to(CLOCK).as_posix()

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.kind}"

    def compile(self) -> CodeType:
        """Return the code of the module with the bug. Line numbers are those of the module."""
        tree = ast.parse(self.path.read_text())
        _mutate(list(ast.walk(tree))[self.position], self.kind)
        return compile(ast.fix_missing_locations(tree), str(self.path), "exec", dont_inherit=True)

    def statement(self) -> str:
        """Return the innermost simple statement, or the head of the innermost compound statement, with the bug."""
        tree = ast.parse(self.path.read_text())
        mutated = list(ast.walk(tree))[self.position]
        around = [each for each in ast.walk(tree) if isinstance(each, ast.stmt) and mutated in ast.walk(each)]
        innermost = copy.deepcopy(around[-1])
        _mutate(list(ast.walk(innermost))[list(ast.walk(around[-1])).index(mutated)], self.kind)
        return ast.unparse(ast.fix_missing_locations(innermost)).partition("\n")[0]


def make_mutants(path: Path) -> Iterator[Mutant]:
    """Yield all mutants of one module."""
    tree = ast.parse(path.read_text())
    without_rules = _nodes_without_rules(tree)
    functions = _functions(tree)
    for position, node in enumerate(ast.walk(tree)):
        for kind in _mutation_kinds(node) if node not in without_rules else ():
            yield Mutant(path, position, getattr(node, "lineno", 0), kind, functions.get(node))


def _nodes_without_rules(tree: ast.AST) -> set[ast.AST]:
    """Return the nodes that have no rule of the clock.

    They are the decorators and keywords of classes (`frozen=True`), and the `strict` of `zip`, whose arguments have the
    same length.
    """
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                roots += [*node.decorator_list, *node.keywords]
            case ast.Call(func=ast.Name(id="zip")):
                roots += node.keywords
    return {inner for root in roots for inner in ast.walk(root)}


def _functions(tree: ast.Module) -> dict[ast.AST, str]:
    """Return the qualified name of the outermost function for each node in the body of a function."""
    names: dict[ast.AST, str] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.FunctionDef):
                names.update((inner, prefix + child.name) for each in child.body for inner in ast.walk(each))

    visit(tree, "")
    return names


def _mutation_kinds(node: ast.AST) -> list[str]:
    """Return the kinds of bugs that can be inserted at a syntax node."""
    match node:
        case ast.Compare(ops=ops):
            return [f"flip {type(op).__name__}" for op in ops[:1] if type(op) in FLIPS]
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in FLIPS:
            return [f"flip {type(op).__name__}"]
        case ast.If() | ast.IfExp():
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


def _mutate(node: ast.AST, kind: str) -> None:
    match node:
        case ast.Compare(ops=ops):
            ops[0] = FLIPS[type(ops[0])]()
        case ast.BinOp() | ast.BoolOp():
            node.op = FLIPS[type(node.op)]()
        case ast.If() | ast.IfExp():
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() as value):
            node.value = value + 1
        case ast.Call(func=ast.Name(id="replace"), keywords=keywords):
            node.keywords = [each for each in keywords if f"omit {each.arg}" != kind]
        case ast.Call(func=ast.Name() as func):
            func.id = "min" if func.id == "max" else "max"
