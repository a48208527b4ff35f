"""`fast_dataclass` gives a class that behaves like the frozen dataclass that it decorates."""

from dataclasses import FrozenInstanceError, dataclass, field

import pytest

from synckairos.fast_dataclass import fast_dataclass, replace


@dataclass(frozen=True, slots=True)
class Plain:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Fast:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)


@pytest.mark.parametrize("given", [{"first": 1}, {"first": 1, "second": "b"}, {"first": 1, "third": [3]}])
def test_fast_dataclass_has_the_fields_of_the_dataclass(given: dict[str, object]) -> None:
    made, plain = Fast(**given), Plain(**given)  # type: ignore[arg-type]
    assert repr(made) == repr(plain).replace("Plain", "Fast")
    assert made == Fast(**given) == replace(made)  # type: ignore[arg-type]


def test_fast_dataclass_is_frozen_and_makes_each_default_anew() -> None:
    made = Fast(1)
    with pytest.raises(FrozenInstanceError):
        made.first = 2  # type: ignore[misc]
    assert made.third is not Fast(1).third


@pytest.mark.parametrize("wrong", [{}, {"first": 1, "fourth": 4}])
def test_fast_dataclass_refuses_the_same_arguments(wrong: dict[str, object]) -> None:
    for kind in (Plain, Fast):
        with pytest.raises(TypeError, match="argument"):
            kind(**wrong)  # type: ignore[arg-type]


def test_replace_changes_a_copy_and_shares_the_other_values() -> None:
    one = Fast(1, third=[3])
    other = replace(one, first=2)
    assert (one, other) == (Fast(1, third=[3]), Fast(2, third=[3]))
    assert other.third is one.third
    with pytest.raises(TypeError):
        replace(one, fourth=2)  # type: ignore[call-arg]
