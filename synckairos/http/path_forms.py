"""Forms of path parameters. Each path parameter is a UUID, except those in `PATH_FORMS`."""

import re
from typing import Any

from synckairos.config.value_types import TENANT_NAME, TENANT_NAME_FAULT
from synckairos.wire.api_keys import KEY_ID_PATTERN
from synckairos.wire.field_types import parse_uuid
from synckairos.wire.member_reconciliations import JOB_ID_PATTERN

PATH_FORMS: dict[str, tuple[str, str]] = {
    "tenant": (TENANT_NAME, TENANT_NAME_FAULT),
    "category": ("[a-z0-9-]{1,64}", "should be the category of a preset"),
    "name": ("[a-z0-9-]{1,64}", "should be the name of a preset in its category"),
    "key_id": (KEY_ID_PATTERN, "should be 12 letters and digits"),
    "job_id": (JOB_ID_PATTERN, "should be the number of a job"),
    "link_id": (KEY_ID_PATTERN, "should be 12 letters and digits"),
}
"""Regular expression and fault text of each path parameter that is not a UUID, by its name."""


def find_path_fault(name: str, text: str) -> str | None:
    """Return what is wrong with the value of a path parameter, None if it is valid."""
    if name in PATH_FORMS:
        pattern, fault = PATH_FORMS[name]
        return None if re.fullmatch(pattern, text) else fault
    try:
        parse_uuid(text)
    except ValueError as error:
        return str(error)
    return None


def path_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a path parameter."""
    if name in PATH_FORMS:
        return {"type": "string", "pattern": f"^{PATH_FORMS[name][0]}$"}
    return {"type": "string", "format": "uuid"}
