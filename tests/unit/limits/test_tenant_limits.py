"""The limits of tenants: their names, and the values of a tenant."""

from synckairos.limits.tenant_limits import DEFAULT_LIMITS, NO_LIMITS, TENANT_LIMITS, TenantLimits, tenant_limits
from synckairos.wire.tenants import TenantLimitChanges, TenantLimitsView


def test_list_the_values_and_both_formats_have_the_same_limits_in_the_same_order() -> None:
    names = [each.name for each in TENANT_LIMITS]
    assert names == [*TenantLimits.__struct_fields__]
    assert names == [*TenantLimitChanges.model_fields] == [*TenantLimitsView.model_fields]


def test_default_of_each_limit_can_be_set_by_an_operator() -> None:
    defaults = {each.name: each.default for each in TENANT_LIMITS}
    parsed = TenantLimitChanges(**defaults)
    assert parsed.model_dump() == defaults


def test_default_tenant_has_no_limits_and_all_others_have_the_defaults() -> None:
    assert tenant_limits("default", {}) == NO_LIMITS
    assert tenant_limits("acme", {}) == DEFAULT_LIMITS
    assert {getattr(NO_LIMITS, each.name) for each in TENANT_LIMITS} == {None}


def test_set_values_replace_the_defaults_and_unknown_limits_are_ignored() -> None:
    limits = tenant_limits("acme", {"sockets": 0, "presses_per_s": 25, "of_a_later_release": 1})
    assert (limits.sockets, limits.presses_per_s) == (0, 25)
    assert limits.live_sessions == DEFAULT_LIMITS.live_sessions
    assert tenant_limits("default", {"sockets": 5}).sockets == 5
