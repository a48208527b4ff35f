"""Formats of members: Pydantic models of requests and responses."""

from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from synckairos.wire.field_types import Omittable, StrictModel
from synckairos.wire.grants import LABEL_PATTERN, UUID_PATTERN, GrantedRole
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.validation_faults import FaultCountLimit

MAX_BULK_ROWS = 10_000
"""Maximum number of rows in one request."""

MAX_SUBJECT = 128
"""Maximum number of characters of a subject."""

MAX_BULK_BYTES = 2 << 20
"""Maximum bytes of the body of a request for members: about 200 bytes for each of 10,000 rows."""


def _lower_id(resource: str) -> str:
    return resource if resource.startswith("label:") else resource.lower()


MemberSubject = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_SUBJECT,
        pattern=r"^[!-~]+\z",
        description="Claim `sub` of a user, or `key:<key id>` for an API key",
    ),
]
MemberResource = Annotated[
    str,
    Field(
        max_length=200,
        pattern=rf"^({UUID_PATTERN}|{LABEL_PATTERN})\z",
        description="A session id, or `label:<key>=<value>` for all sessions with this label",
    ),
    AfterValidator(_lower_id),
]


class MemberRow(StrictModel):
    """The role of a subject on a resource."""

    subject: MemberSubject
    resource: MemberResource
    role: GrantedRole


class PutMembers(StrictModel):
    """Members to add or to change: one row (`subject`, `resource` and `role`), or up to 10,000 rows in `members`.

    All rows or none are stored. A row replaces the role of the subject on the resource. Other rows stay.
    """

    subject: Omittable[MemberSubject] = None
    resource: Omittable[MemberResource] = None
    role: Omittable[GrantedRole] = None
    members: Omittable[
        Annotated[
            list[Annotated[MemberRow, WrapValidator(FaultCountLimit.validate_item)]],
            Field(min_length=1, max_length=MAX_BULK_ROWS),
        ]
    ] = None

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        single = [self.subject, self.resource, self.role]
        if self.members is not None and any(each is not None for each in single):
            raise PydanticCustomError("members", "should have either members, or subject, resource and role")
        if self.members is None and None in single:
            raise PydanticCustomError("members", "should have members, or all of subject, resource and role")
        return self

    @property
    def rows(self) -> list[MemberRow]:
        """Return the rows of both forms."""
        if self.members is not None:
            return self.members
        assert self.subject is not None
        assert self.resource is not None
        assert self.role is not None
        return [MemberRow.model_construct(subject=self.subject, resource=self.resource, role=self.role)]


class DeleteMemberQuery(StrictModel):
    """The member to delete."""

    subject: MemberSubject
    resource: MemberResource


class MembersQuery(PageQuery):
    """The query for the members of the tenant, by subject and resource. Both can be limited."""

    subject: Omittable[MemberSubject] = None
    resource: Omittable[MemberResource] = None


class MemberView(BaseModel):
    """The role of a subject on a resource."""

    subject: MemberSubject
    resource: MemberResource
    role: GrantedRole


class MembersPut(BaseModel):
    """The result of a change of members."""

    member_count: int = Field(description="Number of rows in the request")
    changed_subject_count: int = Field(description="Number of subjects whose roles were changed")


class MembersPutAnswer(BaseModel):
    data: MembersPut


class MemberPage(BaseModel):
    data: list[MemberView]
    next_cursor: str | None


def duplicate_faults(rows: Iterable[MemberRow]) -> list[dict[str, Any]]:
    """Return a fault for each row whose subject and resource an earlier row has."""
    seen: dict[tuple[str, str], int] = {}
    return [
        {"path": f"members.{index}", "message": f"should not name the subject and resource of members.{first} again"}
        for index, each in enumerate(rows)
        if (first := seen.setdefault((each.subject, each.resource), index)) != index
    ]
