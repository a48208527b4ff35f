"""The index of revocations: which credentials a revocation selects, and from when on."""

import pytest

from synckairos.principal import CredentialLife, Principal
from synckairos.revocations.revocation_set import RevocationSet
from synckairos.wire.control_entry import Revocation, UnknownEntry, parse_control_entry
from tests.principals import make_principal

NOW_MS = 1_750_000_000_000


def credential(
    subject: str = "alice",
    *,
    issued_at_ms: int | None = NOW_MS - 1_000,
    token_id: str | None = "t1",
    group: str | None = "g1",
    tenant: str = "default",
    kind: str = "user",
) -> Principal:
    life = CredentialLife(
        expires_at_ms=NOW_MS + 60_000, issued_at_ms=issued_at_ms, token_id=token_id, group=group, verified_by=None
    )
    return make_principal("viewer", subject, kind=kind, tenant=tenant, life=life)  # type: ignore[arg-type]


def revocation(**selector: object) -> Revocation:
    fixed = {"entry_id": "r1", "tenant": "default", "at_ms": NOW_MS, "effective_at_ms": NOW_MS, "actor": "user:admin"}
    return Revocation(**fixed, until_ms=NOW_MS + 90_000, issued_before_ms=NOW_MS, **selector)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selector", "selected", "others"),
    [
        ({"token_id": "t1"}, [credential(), credential("bob")], [credential(token_id="t2"), credential(token_id=None)]),
        ({"group": "g1"}, [credential(), credential("bob")], [credential(group="g2"), credential(group=None)]),
        (
            {"subject": "alice"},
            [credential(), credential(issued_at_ms=None)],
            [credential("bob"), credential(issued_at_ms=NOW_MS), credential(tenant="other"), credential(kind="key")],
        ),
        ({"subject": "key:k1"}, [credential("k1", kind="key")], [credential("k1"), credential("k1", kind="link")]),
        (
            {"credential": "k1"},
            [
                credential("k1", kind="key"),
                credential("k1:7", kind="link"),
                credential("k1", kind="key", token_id=None),
            ],
            [credential("k1"), credential("k2", kind="key")],
        ),
        (
            {"is_for_all": True},
            [credential(), credential("bob"), credential("k1", kind="key"), credential(issued_at_ms=None)],
            [credential(issued_at_ms=NOW_MS), credential(tenant="other"), Principal.anonymous_admin("10.0.0.1")],
        ),
    ],
)
def test_revocation_selects_exactly_the_credentials_of_its_selector(
    selector: dict[str, object], selected: list[Principal], others: list[Principal]
) -> None:
    revocations = RevocationSet()
    revocations.add(revocation(**selector))
    assert [revocations.is_revoked(each, NOW_MS) for each in selected] == [True] * len(selected)
    assert [revocations.is_revoked(each, NOW_MS) for each in others] == [False] * len(others)


def test_revocation_with_a_margin_takes_effect_at_its_end() -> None:
    revocations = RevocationSet()
    fixed = {"entry_id": "r1", "tenant": "default", "at_ms": NOW_MS, "effective_at_ms": NOW_MS + 5_000, "actor": "x"}
    revocations.add(
        Revocation(**fixed, until_ms=NOW_MS + 9_000, issued_before_ms=NOW_MS, group="g1")  # type: ignore[arg-type]
    )
    assert revocations.ends_at_ms(credential()) == NOW_MS + 5_000
    assert not revocations.is_revoked(credential(), NOW_MS + 4_999)
    assert revocations.is_revoked(credential(), NOW_MS + 5_000)


def test_removed_revocation_has_no_effect() -> None:
    revocations = RevocationSet()
    revocations.add(revocation(token_id="t1"))
    revocations.remove(revocation(token_id="t1"))
    revocations.remove(revocation(token_id="t1"))
    assert not revocations.is_revoked(credential(), NOW_MS)


def test_revocation_without_a_margin_has_an_effect_although_the_estimate_of_the_time_is_late() -> None:
    revocations = RevocationSet()
    revocations.add(revocation(token_id="t1"))
    assert revocations.is_revoked(credential(), NOW_MS - 5)


def test_rendered_revocation_is_parsed_to_the_same_revocation() -> None:
    for selector in ({"token_id": "t1"}, {"subject": "a"}, {"group": "g"}, {"credential": "k"}, {"is_for_all": True}):
        made = revocation(**selector)
        assert parse_control_entry(made.render()) == made


def test_entry_of_an_unknown_kind_is_kept_without_effect() -> None:
    text = b'{"kind": "member", "until": 5, "resource": "label:a=b"}'
    assert parse_control_entry(text) == UnknownEntry(kind="member", until_ms=5)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kind": 1, "until": 5}',
        b'{"kind": "x", "until": true}',
        b'{"kind": "disconnection", "until": 5}',
        revocation(token_id="t1", subject="a").render(),
        revocation().render(),
        b'{"kind": "x", "until": 5, "more": "%b"}' % (b"x" * 5_000),
    ],
)
def test_text_that_is_no_entry_is_refused(text: bytes) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        parse_control_entry(text)
