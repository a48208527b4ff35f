"""The budgets of tenants on one instance: rates, sockets, and limits that change."""

import pytest
from prometheus_client import REGISTRY

from synckairos.errors import RateLimitExceeded, TooManyConnections
from synckairos.limits.tenant_budgets import MAX_BUCKETS, TenantBudgets
from synckairos.limits.tenant_labels import TenantLabels
from synckairos.limits.tenant_limits import TenantLimits
from synckairos.principal import CredentialLife, Principal
from tests.principals import make_principal

LIFE = CredentialLife(expires_at_ms=1, issued_at_ms=None, token_id=None, group=None, verified_by=None)


class Budgets(TenantBudgets):
    """Budgets with a clock that the test sets, and with limits for all tenants except `free`."""

    def __init__(self, **limits: int) -> None:
        self.now_s = 100.0
        self.limits = TenantLimits(**limits)
        super().__init__(lambda tenant: TenantLimits() if tenant == "free" else self.limits, lambda: self.now_s)


def caller(subject: str = "alice", tenant: str = "acme", life: CredentialLife | None = LIFE) -> Principal:
    return make_principal("viewer", subject, tenant=tenant, life=life)


def test_requests_of_a_tenant_are_refused_until_its_bucket_fills() -> None:
    budgets = Budgets(requests_per_min=6, presses_per_s=2)
    for _ in range(6):
        budgets.charge_requests("acme")
    with pytest.raises(RateLimitExceeded) as refused:
        budgets.charge_requests("acme")
    assert refused.value.details == {"setting": "requests_per_min", "retry_after_ms": 10_000}
    assert "limit of 6 REST requests and socket commands in a minute" in refused.value.message
    budgets.charge_requests("other")
    budgets.charge_requests("acme", are_presses=True)
    budgets.now_s += 10
    budgets.charge_requests("acme")


def test_presses_have_their_own_limit() -> None:
    budgets = Budgets(requests_per_min=0, presses_per_s=2)
    for _ in range(2):
        budgets.charge_requests("acme", are_presses=True)
    with pytest.raises(RateLimitExceeded) as refused:
        budgets.charge_requests("acme", are_presses=True)
    assert refused.value.details == {"setting": "presses_per_s", "retry_after_ms": 500}


def test_replay_gives_its_request_back() -> None:
    budgets = Budgets(requests_per_min=1, presses_per_s=1)
    for is_press in (False, True):
        for _ in range(3):
            budgets.charge_requests("acme", are_presses=is_press)
            budgets.undo_request("acme", is_press=is_press)
    budgets.undo_request("never-charged")


def test_simulations_are_limited() -> None:
    budgets = Budgets(simulations_per_min=1)
    budgets.charge_simulation("acme")
    with pytest.raises(RateLimitExceeded):
        budgets.charge_simulation("acme")
    budgets.now_s += 60
    budgets.charge_simulation("acme")


def test_tenant_without_limits_is_not_counted() -> None:
    budgets = Budgets(requests_per_min=0)
    for _ in range(1_000):
        budgets.charge_requests("free")
        budgets.charge_simulation("free")
    with pytest.raises(RateLimitExceeded):
        budgets.charge_requests("acme")


def test_request_for_more_than_the_limit_is_possible_if_the_bucket_is_full() -> None:
    budgets = Budgets(requests_per_min=5)
    budgets.charge_requests("acme", count=500)
    with pytest.raises(RateLimitExceeded):
        budgets.charge_requests("acme")


def test_changed_limit_holds_at_once() -> None:
    budgets = Budgets(requests_per_min=1)
    budgets.charge_requests("acme")
    budgets.limits = TenantLimits(requests_per_min=2)
    for _ in range(2):
        budgets.charge_requests("acme")
    with pytest.raises(RateLimitExceeded):
        budgets.charge_requests("acme")


def test_number_of_buckets_is_bounded() -> None:
    budgets = Budgets(requests_per_min=1)
    for number in range(MAX_BUCKETS + 1):
        budgets.charge_requests(f"t{number}")
    budgets.charge_requests("t0")
    with pytest.raises(RateLimitExceeded):
        budgets.charge_requests(f"t{MAX_BUCKETS}")


def test_sockets_of_a_tenant_and_of_a_subject_are_limited() -> None:
    budgets = Budgets(sockets=3, sockets_per_subject=2)
    for _ in range(2):
        budgets.require_socket(caller())
        budgets.add_socket(caller())
    with pytest.raises(TooManyConnections, match="of one subject"):
        budgets.require_socket(caller())
    budgets.require_socket(caller("bob"))
    budgets.add_socket(caller("bob"))
    with pytest.raises(TooManyConnections, match="limit of 3 open sockets"):
        budgets.require_socket(caller("carl"))
    budgets.require_socket(caller("carl", "other"))
    assert budgets.socket_counts() == {"acme": 3}
    budgets.remove_socket(caller())
    budgets.require_socket(caller())
    for subject in ("alice", "bob"):
        budgets.remove_socket(caller(subject))
    assert budgets.socket_counts() == {}


def test_socket_without_a_credential_belongs_to_no_tenant() -> None:
    budgets = Budgets(sockets=0)
    budgets.require_socket(caller(life=None))
    budgets.add_socket(caller(life=None))
    budgets.remove_socket(caller(life=None))
    assert budgets.socket_counts() == {}
    with pytest.raises(TooManyConnections):
        budgets.require_socket(caller())


def test_sessions_of_a_tenant_are_limited_by_their_number() -> None:
    budgets = Budgets(live_sessions=2)
    assert (budgets.limits_sessions_of("acme"), budgets.limits_sessions_of("free")) == (True, False)
    budgets.require_session("acme", 1)
    budgets.require_session("free", 1_000_000)
    with pytest.raises(
        RateLimitExceeded, match=r"limit of 2 sessions that have not ended of the tenant \(live_sessions\)"
    ):
        budgets.require_session("acme", 2)


def value_of(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_metrics_count_requests_refusals_and_sockets_by_tenant_once_there_are_tenants() -> None:
    budgets = Budgets(requests_per_min=1, sockets=1)
    tenant = "metrics-of-budgets"
    budgets.charge_requests(tenant)
    assert value_of("synckairos_tenant_requests_total", tenant=tenant) == 0
    budgets.use_limits(lambda _: budgets.limits)
    with pytest.raises(RateLimitExceeded):
        budgets.charge_requests(tenant)
    budgets.add_socket(caller(tenant=tenant))
    with pytest.raises(TooManyConnections):
        budgets.require_socket(caller("bob", tenant))
    assert value_of("synckairos_tenant_requests_total", tenant=tenant) == 1
    assert value_of("synckairos_tenant_refusals_total", tenant=tenant, limit="requests_per_min") == 1
    assert value_of("synckairos_tenant_refusals_total", tenant=tenant, limit="sockets") == 1
    assert value_of("synckairos_tenant_sockets", tenant=tenant) == 1
    budgets.remove_socket(caller(tenant=tenant))
    assert value_of("synckairos_tenant_sockets", tenant=tenant) == 0


def test_first_tenants_have_a_label_of_their_own_and_all_others_share_one() -> None:
    labels = TenantLabels(2)
    assert [labels.label_of(each) for each in ("a", "b", "c", "a", "d", "b")] == ["a", "b", "other", "a", "other", "b"]
