"""A quick value is the dataclass it was, in every way but the time it takes to make, or to copy with a change."""

from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from synckairos.fast_dataclass import evolve, quick


@dataclass(frozen=True, slots=True)
class Plain:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)


@pytest.mark.parametrize("given", [{"first": 1}, {"first": 1, "second": "b"}, {"first": 1, "third": [3]}])
def test_it_has_the_same_fields(given: dict[str, object]) -> None:
    made, plain = Quick(**given), Plain(**given)  # type: ignore[arg-type]
    assert repr(made) == repr(plain).replace("Plain", "Quick")
    assert made == Quick(**given) == replace(made)  # type: ignore[arg-type]


def test_it_is_frozen_and_shares_no_default() -> None:
    made = Quick(1)
    with pytest.raises(FrozenInstanceError):
        made.first = 2  # type: ignore[misc]
    assert made.third is not Quick(1).third


@pytest.mark.parametrize("wrong", [{}, {"first": 1, "fourth": 4}])
def test_it_refuses_what_the_dataclass_refuses(wrong: dict[str, object]) -> None:
    for kind in (Plain, Quick):
        with pytest.raises(TypeError, match="argument"):
            kind(**wrong)  # type: ignore[arg-type]


def test_evolving_changes_a_copy_and_shares_the_rest() -> None:
    one = Quick(1, third=[3])
    other = evolve(one, first=2)
    assert (one, other) == (Quick(1, third=[3]), Quick(2, third=[3]))
    assert other.third is one.third
    with pytest.raises(TypeError):
        evolve(one, fourth=2)  # type: ignore[call-arg]
