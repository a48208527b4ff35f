"""Frozen dataclasses that are fast to create and to copy: `fast_dataclass` replaces `__init__`, `replace` copies.

The generated `__init__` of a frozen dataclass sets each field by `object.__setattr__`. `dataclasses.replace` also looks
up the description of each field. One command creates about thirty values, and a switch makes five copies. Creation
took a tenth of a command's time, and copying most of a switch's time. The functions here are generated once for each
class. They fill a bare object through the setters of its slots. Only types that the hot path creates need them.
"""

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

_UNSET: Any = object()


def fast_dataclass(kind: type[T]) -> type[T]:
    """Replace the `__init__` of a frozen slotted dataclass by one that uses the setters of its slots.

    Write this decorator above `@dataclass`.
    """
    scope: dict[str, Any] = {"unset": _UNSET}
    parameters, lines = ["self"], ["pass"]
    for field in fields(kind):  # type: ignore[arg-type]  # no type annotation means "a dataclass"
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
    exec(f"def __init__({', '.join(parameters)}):\n    " + "\n    ".join(lines), scope)  # noqa: S102 - only generated text
    scope["__init__"].__qualname__ = f"{kind.__qualname__}.__init__"
    kind.__init__ = scope["__init__"]  # type: ignore[method-assign]  # it has the same signature
    return kind


if TYPE_CHECKING:
    # Type checkers see the original function, so that they check the names and types of the fields.
    from dataclasses import replace
else:
    _copiers = {}

    def replace(value, /, **changes):
        """Return a copy of a frozen slotted dataclass with some fields changed. The copy shares the other values."""
        kind = type(value)
        copier = _copiers.get(kind)
        if copier is None:
            copier = _copiers[kind] = _make_copier(kind)
        return copier(value, **changes)

    def _make_copier(kind):
        names = kind.__slots__
        lines = [
            f"def copy(value, *, {', '.join(f'{name}=unset' for name in names)}):",
            "    copy = new(kind)",
            *(f"    set_{name}(copy, value.{name} if {name} is unset else {name})" for name in names),
            "    return copy",
        ]
        scope = {"unset": _UNSET, "kind": kind, "new": object.__new__}
        scope |= {f"set_{name}": getattr(kind, name).__set__ for name in names}
        exec("\n".join(lines), scope)  # noqa: S102 - only generated text
        return scope["copy"]


__all__ = ["fast_dataclass", "replace"]
