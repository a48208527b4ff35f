"""The stored credentials of requests for links, over REST or from the command line, and the URLs of links."""

from synckairos.errors import ValidationFailed
from synckairos.principal import Principal
from synckairos.stored_credentials.records import NewCredential
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.links import CreateLink

DEFAULT_LIFE_MS = 86_400_000
"""Milliseconds after which a link expires if the request names no expiry."""

MAX_LIFE_MS = 366 * 86_400_000
"""Maximum milliseconds until a link expires: a year."""

MAX_LINKS_OF_CREATOR = 1_000
"""Maximum number of valid links that one caller without the role `admin` has made."""

SIGN_IN_LINK_LIFE_MS = 600_000
"""Milliseconds after which the link of a sign-in expires."""

FRAGMENT = "link="
"""Text before the secret in the fragment of a URL. Browsers do not send fragments to the server."""

PAGES = {"viewer": "view", "participant": "desk", "controller": "control"}
"""Name of the page that a link opens, by the role of the link."""

SIGN_IN_PAGE = "console"
"""Name of the page that a link for a sign-in opens."""


def new_link(body: CreateLink, creator: Principal, now_ms: int) -> NewCredential:
    """Return the link that `body` describes, for the tenant of `creator`.

    If an API key or a link without the role `admin` makes the link, it is the parent of the link. `now_ms` is the time
    of Redis in ms since the Unix epoch.

    Raises: ValidationFailed if the expiry is not in the future, or more than a year ahead.
    """
    expires_at_ms = now_ms + DEFAULT_LIFE_MS
    if body.expires_at is not None:
        expires_at_ms = parse_instant_ms(body.expires_at)
        if not now_ms < expires_at_ms <= now_ms + MAX_LIFE_MS:
            raise ValidationFailed.at_path("expires_at", "should be in the future, at most a year ahead")
    has_parent = creator.kind in ("key", "link") and creator.role != "admin"
    return NewCredential(
        tenant=creator.tenant,
        kind="link",
        principal_kind="link",
        subject=None,
        label=body.label,
        role=body.role,
        grants=[{"sessions": [body.session_id]}],
        participant_id=body.participant_id,
        parent_id=creator.subject.partition(":")[0] if has_parent else None,
        expires_at_ms=expires_at_ms,
        created_by=creator.actor,
        session_id=body.session_id,
        max_uses=body.max_uses,
        has_default_max_uses="max_uses" not in body.model_fields_set,
        max_of_creator=None if creator.role == "admin" else MAX_LINKS_OF_CREATOR,
    )


def new_sign_in_link(creator: Principal, now_ms: int) -> NewCredential:
    """Return a link for one sign-in as an administrator of the tenant of `creator`.

    `now_ms` is the time of Redis in ms since the Unix epoch.
    """
    return NewCredential(
        tenant=creator.tenant,
        kind="login",
        principal_kind="link",
        subject=None,
        label=None,
        role="admin",
        grants=(),
        participant_id=None,
        parent_id=None,
        expires_at_ms=now_ms + SIGN_IN_LINK_LIFE_MS,
        created_by=creator.actor,
        max_uses=1,
    )


def link_url(server_url: str, session_id: str, role: str, secret: str) -> str:
    """Return the URL of the page for the role of a link.

    `server_url` is the URL of the server without a slash at its end.
    """
    return f"{server_url}/{PAGES[role]}/{session_id}#{FRAGMENT}{secret}"


def sign_in_url(server_url: str, secret: str) -> str:
    """Return the URL of the page for a sign-in. `server_url` is as in `link_url`."""
    return f"{server_url}/{SIGN_IN_PAGE}#{FRAGMENT}{secret}"
