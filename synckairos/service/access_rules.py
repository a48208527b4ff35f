"""The table of access rules: the least role for each REST operation, socket message, command and page.

`authorization.py` enforces the table. The page of access rules is generated from it, and a test fails for an operation,
a message, a command or a page without a rule.
"""

from typing import Literal

from msgspec import Struct

from synckairos.principal import Role, includes_role

Access = Literal["public", "credential", "operator"] | Role
"""Least right that a rule requires.

`public` requires nothing. `credential` requires any verified credential. A role requires this role or a higher role.
`operator` requires the key of an operator; no role includes it.
"""

OPERATOR_VERBS = ("metrics",)
"""The verbs that operators are allowed to use in addition to those with the least right `operator`."""

Scope = Literal["session", "participant", "tenant", "none"]
"""Object on which the role is required.

- `session`: the role on the session that the request names. The service decides.
- `participant`: the caller must be the participant that the request names. Callers with the role `admin` pass too.
- `tenant`: the role of the credential.
- `none`: `public` and `credential` concern no object.
"""


class AccessRule(Struct, frozen=True):
    """A rule: the least right, and the object on which a role is required."""

    least: Access
    scope: Scope

    def allows(self, role: Role) -> bool:
        """Return whether a caller with a verified credential and this role on the object passes the rule."""
        if self.least == "operator":
            return False
        return self.least == "public" or self.least == "credential" or includes_role(role, self.least)


ACCESS_RULES: dict[str, AccessRule] = {
    # System and pages
    "health": AccessRule("public", "none"),
    "ready": AccessRule("public", "none"),
    "time": AccessRule("public", "none"),
    "page": AccessRule("public", "none"),
    "api_description": AccessRule("public", "none"),
    "read_presets": AccessRule("public", "none"),
    "qr_code": AccessRule("public", "none"),
    "ping": AccessRule("public", "none"),
    "authenticate": AccessRule("public", "none"),
    "redeem_link": AccessRule("public", "none"),
    "open_stream": AccessRule("public", "none"),
    "send_frames": AccessRule("public", "none"),
    "connect": AccessRule("credential", "none"),
    "describe_caller": AccessRule("credential", "none"),
    "list_own_sessions": AccessRule("credential", "none"),
    "make_ticket": AccessRule("credential", "none"),
    "make_session_token": AccessRule("credential", "none"),
    "end_session_token": AccessRule("credential", "none"),
    "unsubscribe": AccessRule("credential", "none"),
    "simulate": AccessRule("credential", "none"),
    "metrics": AccessRule("admin", "tenant"),
    # Reads of one session
    "read": AccessRule("viewer", "session"),
    "subscribe": AccessRule("viewer", "session"),
    "read_archive": AccessRule("viewer", "session"),
    "read_archive_events": AccessRule("participant", "session"),
    "read_events": AccessRule("controller", "session"),
    "read_actors": AccessRule("controller", "session"),
    # Reads of one participant
    "read_participant_sessions": AccessRule("participant", "participant"),
    "report_participant_time": AccessRule("participant", "participant"),
    "report_hours": AccessRule("participant", "none"),
    # Commands on one session
    "switch": AccessRule("participant", "session"),
    "pause": AccessRule("participant", "session"),
    "resume": AccessRule("participant", "session"),
    "done": AccessRule("participant", "session"),
    "finish": AccessRule("participant", "session"),
    "start": AccessRule("controller", "session"),
    "adjust": AccessRule("controller", "session"),
    "complete": AccessRule("controller", "session"),
    "cancel": AccessRule("controller", "session"),
    "undo": AccessRule("controller", "session"),
    "reopen": AccessRule("controller", "session"),
    "amend": AccessRule("controller", "session"),
    "add_participant": AccessRule("controller", "session"),
    "remove_participant": AccessRule("controller", "session"),
    "update_participant": AccessRule("controller", "session"),
    "update_metadata": AccessRule("controller", "session"),
    "update_session": AccessRule("controller", "session"),
    "set_plan": AccessRule("controller", "session"),
    "announce": AccessRule("controller", "session"),
    "screen": AccessRule("controller", "session"),
    "manage_links": AccessRule("controller", "session"),
    "delete": AccessRule("admin", "session"),
    # The tenant
    "command_many": AccessRule("credential", "none"),
    "create": AccessRule("controller", "tenant"),
    "list_sessions": AccessRule("admin", "tenant"),
    "manage_webhooks": AccessRule("admin", "tenant"),
    "read_access_log": AccessRule("admin", "tenant"),
    "manage_revocations": AccessRule("admin", "tenant"),
    "manage_keys": AccessRule("admin", "tenant"),
    "manage_signing_keys": AccessRule("admin", "tenant"),
    "manage_members": AccessRule("admin", "tenant"),
    "reconcile_members": AccessRule("admin", "tenant"),
    "disconnect": AccessRule("admin", "tenant"),
    # All tenants
    "manage_tenants": AccessRule("operator", "none"),
    "manage_jobs": AccessRule("operator", "none"),
    "manage_failed_entries": AccessRule("operator", "none"),
}
"""The rules by verb. Commands have the names that REST and sockets use for them."""
