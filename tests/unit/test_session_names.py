"""Names of sessions and participants: unambiguous for all tenants, and unchanged in the default tenant."""

from collections.abc import Callable
from itertools import product

import pytest

from synckairos.principal import DEFAULT_TENANT
from synckairos.session_names import (
    bare_id,
    participant_name,
    session_name,
    split_participant_name,
    split_session_name,
)

ID = "0190d0e2-7c6f-7000-8000-00000000000a"
OTHER_ID = "0190d0e2-7c6f-7000-8000-00000000000b"
TENANTS = (DEFAULT_TENANT, "acme", "acme.eu", "a", "0", "a-b_c.d", "x" * 63)

PAIRS = pytest.mark.parametrize(
    ("build", "split"),
    [(session_name, split_session_name), (participant_name, split_participant_name)],
    ids=["session", "participant"],
)
Build = Callable[[str, str], str]
Split = Callable[[str], tuple[str, str]]


@PAIRS
def test_name_in_the_default_tenant_is_the_id(build: Build, split: Split) -> None:
    assert build(DEFAULT_TENANT, ID) == ID
    assert split(ID) == (DEFAULT_TENANT, ID)


@PAIRS
def test_name_in_another_tenant_begins_with_the_tenant(build: Build, split: Split) -> None:
    assert build("acme", ID) == f"acme/{ID}"
    assert split(f"acme/{ID}") == ("acme", ID)


@PAIRS
def test_names_are_unambiguous(build: Build, split: Split) -> None:
    pairs = list(product(TENANTS, (ID, OTHER_ID)))
    names = [build(*pair) for pair in pairs]
    assert len(set(names)) == len(pairs)
    assert [split(name) for name in names] == pairs
    assert [bare_id(name) for name in names] == [each for _, each in pairs]


@PAIRS
@pytest.mark.parametrize("tenant", [DEFAULT_TENANT, "acme"])
def test_id_with_a_slash_is_refused(build: Build, split: Split, tenant: str) -> None:
    """Otherwise the id `acme/p1` of the default tenant would have the name of `p1` of the tenant `acme`."""
    with pytest.raises(ValueError, match="is no id"):
        build(tenant, f"acme/{ID}")


@PAIRS
@pytest.mark.parametrize(
    "name",
    [f"default/{ID}", f"/{ID}", f"Acme/{ID}", f"acme/x/{ID}", f"-a/{ID}", f"acme\n/{ID}", f"{'x' * 64}/{ID}"],
    ids=["default", "empty", "upper case", "two slashes", "hyphen first", "line feed", "too long"],
)
def test_text_that_is_no_name_is_refused(build: Build, split: Split, name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        split(name)
