"""Frozen dataclasses that are cheap to make and to copy: `fast_dataclass` replaces `__init__`, `replace` copies.

What `dataclasses` writes goes around the frozen class through `object.__setattr__`, field by field, and its `replace`
looks every field's description up besides. One command makes some thirty values, a switch five copies: that was a tenth
of the one's time and most of what the other cost. The functions written here, once a class, fill a bare object through
its slots' own setters. For types that the hot path makes; the others needn't care.
"""

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

_UNSET: Any = object()


def fast_dataclass(kind: type[T]) -> type[T]:
    """Give a frozen slotted class an `__init__` that fills its slots by their setters; stands above `@dataclass`."""
    scope: dict[str, Any] = {"unset": _UNSET}
    parameters, lines = ["self"], ["pass"]
    for field in fields(kind):  # type: ignore[arg-type]  # it is a dataclass, which no type can say
        name, value = field.name, field.name
        parameter = name
        if field.default is not MISSING:
            scope[f"default_{name}"], parameter = field.default, f"{name}=default_{name}"
        elif field.default_factory is not MISSING:
            scope[f"make_{name}"], parameter = field.default_factory, f"{name}=unset"
            value = f"make_{name}() if {name} is unset else {name}"
        scope[f"set_{name}"] = getattr(kind, name).__set__
        parameters.append(parameter)
        lines.append(f"set_{name}(self, {value})")
    exec(f"def __init__({', '.join(parameters)}):\n    " + "\n    ".join(lines), scope)  # noqa: S102 all of it is ours
    scope["__init__"].__qualname__ = f"{kind.__qualname__}.__init__"
    kind.__init__ = scope["__init__"]  # type: ignore[method-assign]  # of the same signature
    return kind


if TYPE_CHECKING:
    # Type checkers see the original, so that names and types of the fields are checked.
    from dataclasses import replace
else:
    _copiers = {}

    def replace(value, /, **changes):
        """Return a copy of a frozen slotted dataclass with some fields changed; the others are shared."""
        kind = type(value)
        copier = _copiers.get(kind)
        if copier is None:
            copier = _copiers[kind] = _write_copier(kind)
        return copier(value, **changes)

    def _write_copier(kind):
        names = kind.__slots__
        lines = [
            f"def copy(value, *, {', '.join(f'{name}=unset' for name in names)}):",
            "    copy = new(kind)",
            *(f"    set_{name}(copy, value.{name} if {name} is unset else {name})" for name in names),
            "    return copy",
        ]
        scope = {"unset": _UNSET, "kind": kind, "new": object.__new__}
        scope |= {f"set_{name}": getattr(kind, name).__set__ for name in names}
        exec("\n".join(lines), scope)  # noqa: S102 all of it is ours
        return scope["copy"]


__all__ = ["fast_dataclass", "replace"]
