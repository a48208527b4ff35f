"""The revocations in the memory of one instance, indexed so that a check of a principal costs a few look-ups."""

from collections.abc import Iterator

from synckairos.principal import Principal
from synckairos.wire.control_entry import Revocation

_Key = tuple[str, str, str]
"""Tenant, name of the selector, and value of the selector."""


class RevocationSet:
    """Revocations by their selectors. A check reads memory only.

    Principals without the life of a credential, such as anonymous callers, are never revoked.
    """

    def __init__(self) -> None:
        self._by_selector: dict[_Key, list[Revocation]] = {}
        self._tenants: set[str] = set()
        """Tenants with at least one revocation. Most checks end here."""

    def add(self, revocation: Revocation) -> None:
        """Add a revocation. Several revocations can select the same credential."""
        self._tenants.add(revocation.tenant)
        self._by_selector.setdefault(_key_of(revocation), []).append(revocation)

    def remove(self, revocation: Revocation) -> None:
        """Remove a revocation that has no effect any more. If it is absent, nothing changes."""
        key = _key_of(revocation)
        left = [each for each in self._by_selector.get(key, ()) if each.entry_id != revocation.entry_id]
        if left:
            self._by_selector[key] = left
        else:
            self._by_selector.pop(key, None)

    def ends_at_ms(self, principal: Principal) -> int | None:
        """Return the instant at which the principal's credential is or was revoked, None if no revocation selects it.

        The instant is in ms since the Unix epoch. It can be in the future.
        """
        return min((each.effective_at_ms for each in self._covering(principal)), default=None)

    def is_revoked(self, principal: Principal, now_ms: int) -> bool:
        """Return whether the principal's credential is revoked at the instant `now_ms`, by the time of Redis."""
        # The estimate of the time can be some milliseconds late. A revocation that has arrived was made before now.
        return any(each.effective_at_ms <= max(now_ms, each.at_ms) for each in self._covering(principal))

    def _covering(self, principal: Principal) -> Iterator[Revocation]:
        """Yield the revocations that select the principal's credential."""
        if principal.tenant not in self._tenants:
            return
        for name, value in _selectors_of(principal):
            for each in self._by_selector.get((principal.tenant, name, value), ()):
                if revocation_covers(each, principal):
                    yield each


def revocation_covers(revocation: Revocation, principal: Principal) -> bool:
    """Return whether a revocation selects the credential of a principal, at any time after it takes effect."""
    life = principal.life
    if life is None or principal.tenant != revocation.tenant:
        return False
    if (name_and_value := _selector_of(revocation)) not in _selectors_of(principal):
        return False
    if name_and_value[0] not in ("subject", "all"):
        return True
    return life.issued_at_ms is None or life.issued_at_ms < revocation.issued_before_ms


def revocable_subject(principal: Principal) -> str:
    """Return the name by which a revocation or a disconnection selects a subject.

    It is the claim `sub` of a user. For the other kinds it is `<kind>:<subject>`. No user has such a claim `sub`.
    """
    return principal.subject if principal.kind == "user" else f"{principal.kind}:{principal.subject}"


def _selectors_of(principal: Principal) -> Iterator[tuple[str, str]]:
    """Yield each selector that can select the credential: its name and its value."""
    life = principal.life
    if life is None:
        return
    yield "all", ""
    yield "subject", revocable_subject(principal)
    if life.token_id is not None:
        yield "jti", life.token_id
    if life.group is not None:
        yield "grp", life.group
    if principal.kind in ("key", "link"):
        # The subject of a link is `<id>:<number of the use>`, and the credential is the link.
        yield "credential", principal.subject.partition(":")[0]


def _selector_of(revocation: Revocation) -> tuple[str, str]:
    for name, value in (
        ("jti", revocation.token_id),
        ("subject", revocation.subject),
        ("grp", revocation.group),
        ("credential", revocation.credential),
    ):
        if value is not None:
            return name, value
    return "all", ""


def _key_of(revocation: Revocation) -> _Key:
    return revocation.tenant, *_selector_of(revocation)
