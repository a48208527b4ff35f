"""`replace` copies a struct, shares the unchanged fields, and refuses unknown ones."""

import pytest
from msgspec import Struct, field

from synckairos.frozen_replace import replace


class Value(Struct, frozen=True):
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)


def test_replace_changes_a_copy_and_shares_the_other_fields() -> None:
    value = Value(1, third=[3])
    copy = replace(value, first=2)
    assert (value, copy) == (Value(1, third=[3]), Value(2, third=[3]))
    assert copy.third is value.third


def test_replace_of_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError):
        replace(Value(1), fourth=2)  # type: ignore[call-arg]


def test_assignment_to_a_field_is_refused() -> None:
    value = Value(1)
    with pytest.raises(AttributeError):
        value.first = 2  # type: ignore[misc]
