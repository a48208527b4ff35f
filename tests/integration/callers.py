"""Callers with a kind, subject and role that they name in a header. They stand for authentication."""

from typing import cast

from starlette.types import Scope

from synckairos.http.client_address import CallerResolver
from synckairos.principal import Kind, Principal, Role
from tests.principals import make_principal


def as_caller(subject: str, role: Role = "admin", kind: Kind = "user") -> dict[str, str]:
    """Return the headers of a caller."""
    return {"x-caller": f"{kind} {role} {subject}"}


class NamedCallers(CallerResolver):
    """Identity that believes the header of `as_caller`. A caller without the header is anonymous."""

    def principal_for(self, scope: Scope) -> Principal:
        header = dict(scope["headers"]).get(b"x-caller")
        if header is None:
            return super().principal_for(scope)
        kind, role, subject = header.decode().split(" ", 2)
        return make_principal(
            cast(Role, role),
            subject,
            kind=cast(Kind, kind),
            address="10.0.0.1",
            participant_id=subject.lower() if role == "participant" else None,
        )
