"""Formats of revocations: Pydantic models of requests and responses, and the JSON of one revocation."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from synckairos.wire.control_entry import Revocation
from synckairos.wire.field_types import Omittable, StrictModel
from synckairos.wire.instants import parse_instant_ms, render_instant
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.session_view import Instant

MAX_MARGIN_S = 3_600
_LAST_MS = 253_000_000_000_000
_SELECTORS = ("jti", "subject", "grp", "credential", "all")


def _only_true(value: bool) -> bool:
    if not value:
        raise PydanticCustomError("true", "should be true or absent")
    return value


def _instant_as_ms(value: Any) -> int:
    """Return an instant in ms since the Unix epoch. `value` is an ISO 8601 text or a number of ms."""
    try:
        at_ms = parse_instant_ms(value) if isinstance(value, str) else value
    except (ValueError, OverflowError):
        at_ms = None
    if isinstance(at_ms, bool) or not isinstance(at_ms, int) or not 0 <= at_ms <= _LAST_MS:
        raise PydanticCustomError("instant", "should be an instant with a time zone, or ms since 1970")
    return at_ms


Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+\z")]
TokenId = Annotated[Name, Field(description="Claim `jti` of the token")]
Subject = Annotated[
    Name, Field(description="Claim `sub` of a user; `key:<id>` or `link:<id>:<number>` for the other kinds")
]
Group = Annotated[Name, Field(description="Claim `grp` of the tokens, such as one login")]
Credential = Annotated[Name, Field(description="Id of an API key or a link")]
All = Annotated[bool, AfterValidator(_only_true), Field(description="`true` selects every credential of the tenant")]
IssuedBefore = Annotated[
    int,
    BeforeValidator(_instant_as_ms),
    Field(
        description="Only with `subject` or `all`: tokens issued at this instant or later stay valid. An ISO 8601 text "
        "with a time zone, or ms since the Unix epoch; default: now. Tokens without `iat` count as issued before",
    ),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0, "maximum": _LAST_MS}]}
    ),
]
Margin = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_MARGIN_S,
        description="Seconds until the revocation takes effect. Sockets get REAUTH at once. Default: 0",
    ),
]


class CreateRevocation(StrictModel):
    """The credentials to revoke: exactly one of `jti`, `subject`, `grp`, `credential` and `all`."""

    jti: Omittable[TokenId] = None
    subject: Omittable[Subject] = None
    issued_before: Omittable[IssuedBefore] = None
    grp: Omittable[Group] = None
    credential: Omittable[Credential] = None
    all: Omittable[All] = None
    margin_s: Margin = 0

    @model_validator(mode="after")
    def _check_selectors(self) -> "CreateRevocation":
        given = [name for name in _SELECTORS if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "selector", "should have exactly one of {names}", {"names": ", ".join(_SELECTORS)}
            )
        if self.issued_before is not None and given[0] not in ("subject", "all"):
            raise PydanticCustomError("selector", "issued_before needs subject or all")
        return self


class Disconnect(StrictModel):
    """The subject whose sockets and streams are closed. Its credentials stay valid."""

    subject: Subject


class RevocationsQuery(PageQuery):
    """The query for the revocations of the tenant, newest first."""


class RevocationView(BaseModel):
    """A revocation. It has exactly one of `jti`, `subject`, `grp`, `credential` and `all`."""

    revocation_id: str
    at: Instant = Field(description="Instant of the revocation")
    effective_at: Instant = Field(description="Instant at which the revocation takes effect")
    until: Instant = Field(description="Instant at which the revocation is forgotten: no selected token is valid then")
    revoked_by: str = Field(description="The caller that made the revocation, as the audit names actors")
    jti: Omittable[str] = None
    subject: Omittable[str] = None
    issued_before: Omittable[Instant] = None
    grp: Omittable[str] = None
    credential: Omittable[str] = None
    all: Omittable[bool] = None


class RevocationAnswer(BaseModel):
    data: RevocationView


class RevocationPage(BaseModel):
    data: list[RevocationView]
    next_cursor: str | None


def revocation_json(revocation: Revocation) -> dict[str, Any]:
    """Return the JSON object of a revocation, as the REST API shows it."""
    selectors: dict[str, Any] = {
        "jti": revocation.token_id,
        "subject": revocation.subject,
        "grp": revocation.group,
        "credential": revocation.credential,
        "all": revocation.is_for_all or None,
    }
    has_instant = revocation.subject is not None or revocation.is_for_all
    selectors["issued_before"] = render_instant(revocation.issued_before_ms) if has_instant else None
    return {
        "revocation_id": revocation.entry_id,
        "at": render_instant(revocation.at_ms),
        "effective_at": render_instant(revocation.effective_at_ms),
        "until": render_instant(revocation.until_ms),
        "revoked_by": revocation.actor,
        **{name: value for name, value in selectors.items() if value is not None},
    }
