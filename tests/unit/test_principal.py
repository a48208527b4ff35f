"""Principals: required fields, actors, and command ids in the scope of a principal."""

from itertools import product

import pytest
from msgspec.structs import asdict

from synckairos.principal import TIMEKEEPER, Kind, Narrowing, Principal, Role, SessionGrant, tenant_of_client
from tests.principals import make_principal


def make(tenant: str, kind: Kind, subject: str) -> Principal:
    return make_principal("admin", subject, kind=kind, tenant=tenant, address="10.0.0.1")


@pytest.mark.parametrize("missing", Principal.__struct_fields__)
def test_principal_without_a_field_is_refused(missing: str) -> None:
    fields = asdict(make_principal("viewer"))
    del fields[missing]
    with pytest.raises(TypeError, match=missing):
        Principal(**fields)


def test_anonymous_principal_keeps_the_scopes_and_the_actor_of_earlier_releases() -> None:
    caller = Principal.anonymous_admin("10.0.0.1")
    assert (caller.role, caller.actor, caller.limited_client_id) == ("admin", "anonymous", "10.0.0.1")
    assert caller.qualify_command_id("press-17") == "press-17"
    assert caller.qualify_request_id("press-17") == "::press-17"


def test_import_keeps_the_scopes_and_the_actor_of_earlier_releases() -> None:
    importer = Principal.importer("import-v2")
    assert (importer.actor, importer.qualify_command_id("import-v2:5f")) == ("import-v2", "import-v2:5f")


def test_command_ids_of_different_principals_never_get_the_same_scope() -> None:
    kinds: tuple[Kind, ...] = ("user", "key", "link", "timekeeper", "anonymous")
    texts = ("", "a", "b", "a:b", "b:c", "1:a", "a1:b", "a b", "anonymous", "timekeeper", "4:user1:a")
    command_ids = ("c", "b:c", "a:b", "1:a", "::c", "7:default4:user1:a")
    found: dict[str, tuple[Principal | None, str]] = {}
    for tenant, kind, subject, command_id in product(texts, kinds, texts, command_ids):
        principal = make(tenant, kind, subject)
        owner = None if kind == "anonymous" else principal
        scoped = principal.qualify_command_id(command_id)
        assert found.setdefault(scoped, (owner, command_id)) == (owner, command_id)
        assert principal.qualify_request_id(command_id) == f"::{scoped}"


@pytest.mark.parametrize("kind", ["user", "key", "link"])
@pytest.mark.parametrize("subject", ["timekeeper", "anonymous", "import-v2", "user:alice"])
def test_actor_and_client_with_a_reserved_subject_are_those_of_the_kind(kind: Kind, subject: str) -> None:
    principal = make("default", kind, subject)
    assert principal.actor == f"{kind}:{subject}"
    assert principal.actor not in (TIMEKEEPER.actor, Principal.anonymous_admin().actor)
    assert principal.limited_client_id == f"7:default{len(kind)}:{kind}{len(subject)}:{subject}"


SESSION, OTHER = "018f6f2e-0000-7000-8000-000000000001", "018f6f2e-0000-7000-8000-000000000002"


def grant(
    role: Role | None = None, *ids: str, labels: frozenset[tuple[str, str]] = frozenset(), everything: bool = False
) -> SessionGrant:
    return SessionGrant(session_ids=frozenset(ids), labels=labels, all_sessions=everything, role=role)


@pytest.mark.parametrize(
    ("ceiling", "grants", "expected"),
    [
        ("controller", (), None),
        ("controller", (grant(None, OTHER),), None),
        ("controller", (grant(None, SESSION),), "controller"),
        ("viewer", (grant("controller", SESSION),), "viewer"),
        ("controller", (grant("viewer", SESSION), grant("participant", SESSION)), "participant"),
        ("controller", (grant("viewer", everything=True), grant("controller", OTHER)), "viewer"),
        ("participant", (grant(None, labels=frozenset({("round", "3")})),), "participant"),
        ("participant", (grant(None, labels=frozenset({("round", "4")})),), None),
        ("admin", (), "admin"),
        ("admin", (grant("viewer", SESSION),), "admin"),
    ],
)
def test_role_on_a_session_is_the_lower_of_ceiling_and_best_grant(
    ceiling: Role, grants: tuple[SessionGrant, ...], expected: Role | None
) -> None:
    assert make_principal(ceiling, grants=grants).role_on(SESSION, [("round", "3"), ("hall", "a")]) == expected


ONE, OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "7c9e6679-7425-40de-944b-e07fc1f90ae8"


@pytest.mark.parametrize(
    ("role", "narrowing", "expected"),
    [
        ("admin", Narrowing(role=None, session_ids=None), ("admin", "admin")),
        ("admin", Narrowing(role="viewer", session_ids=None), ("viewer", "viewer")),
        ("admin", Narrowing(role=None, session_ids=frozenset({ONE})), ("controller", None)),
        ("admin", Narrowing(role="viewer", session_ids=frozenset({ONE})), ("viewer", None)),
        ("controller", Narrowing(role="participant", session_ids=frozenset({ONE})), ("participant", None)),
        ("controller", Narrowing(role=None, session_ids=frozenset()), (None, None)),
        ("viewer", Narrowing(role="controller", session_ids=None), ("viewer", "viewer")),
        ("viewer", None, ("viewer", "viewer")),
    ],
)
def test_narrowed_principal_has_at_most_the_role_and_the_sessions_of_the_ticket(
    role: Role, narrowing: Narrowing | None, expected: tuple[Role | None, Role | None]
) -> None:
    narrowed = make_principal(role).narrowed(narrowing)
    assert (narrowed.role_on(ONE, ()), narrowed.role_on(OTHER, ())) == expected
    again = make_principal("admin").narrowed(narrowed.narrowing)  # a REFRESH with a token of more rights
    if narrowing is not None and narrowing.session_ids is not None:
        assert again.role_on(OTHER, ()) is None
    if narrowing is not None and narrowing.role is not None:
        assert not again.has_role("admin")
        assert again.role == narrowing.role


def test_narrowed_principal_loses_a_role_together_with_the_label_that_gave_it() -> None:
    grant = SessionGrant(session_ids=frozenset(), labels=frozenset({("cup", "spring")}), all_sessions=False, role=None)
    narrowed = make_principal("controller", grants=(grant,)).narrowed(
        Narrowing(role=None, session_ids=frozenset({ONE}))
    )
    assert narrowed.role_on(ONE, [("cup", "spring")]) == "controller"
    assert narrowed.role_on(ONE, ()) is None
    assert narrowed.role_on(OTHER, [("cup", "spring")]) is None


@pytest.mark.parametrize("tenant", ["default", "a", "7", "1.2-3_4"])
@pytest.mark.parametrize("kind", ["user", "key", "link"])
def test_tenant_of_a_client_with_a_credential_is_in_its_id(tenant: str, kind: Kind) -> None:
    client = make_principal("admin", "4:user5:alice", kind=kind, tenant=tenant).limited_client_id
    assert tenant_of_client(client) == tenant


@pytest.mark.parametrize(
    "address", ["", "10.0.0.1", "2001:db8::/64", "1:a2:3::", "4:abcd:4::/64", "7:::", "unknown", "1:a4:users:x"]
)
def test_client_that_is_an_address_has_no_tenant(address: str) -> None:
    assert tenant_of_client(address) is None
