"""Generate the typed REST operations of the Python client from `/openapi.json` of a server.

`rest_types.py` has a `TypedDict` for each schema that an operation uses. `rest_api.py` and `sync_rest_api.py` have one
method for each operation, `async` and synchronous. The names of the operations are those of the JavaScript client, in
Python's case: `POST /v1/sessions/{session_id}/participants` is `sessions.add_participant`.
"""

import keyword
import re
import textwrap
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

HEAD = "# Generated from /openapi.json by `make python-client`. Do not edit.\n"

WIDTH = 112

METHOD_NAMES = {"GET": "get", "PATCH": "update", "PUT": "replace", "DELETE": "delete", "POST": "post"}


def render_rest_modules(openapi: Schema) -> dict[str, str]:
    """Return the generated modules by their path below `generated`. They are not formatted yet."""
    operations = [
        Operation(method.upper(), path, described, openapi["components"]["schemas"])
        for path, methods in openapi["paths"].items()
        if path.startswith("/v1/")
        for method, described in methods.items()
    ]
    names = [(each.group, each.name) for each in operations]
    assert len(set(names)) == len(names), "two operations would have the same name"
    return {
        "rest_types.py": render_types(openapi["components"]["schemas"], operations),
        "rest_api.py": render_operations(operations, is_async=True),
        "sync_rest_api.py": render_operations(operations, is_async=False),
    }


# -- operations -------------------------------------------------------------------------------------------------------


class Operation:
    """One REST operation: its name, and the types of its parameters and of its result."""

    def __init__(self, method: str, path: str, described: Schema, schemas: dict[str, Schema]) -> None:
        self.method = method
        self.path = path
        self.summary: str = described["summary"]
        self.group, self.name = operation_name(method, path)
        parameters = described.get("parameters", [])
        self.query = [each for each in parameters if each["in"] == "query"]
        headers = {each["name"] for each in parameters if each["in"] == "header"}
        self.is_keyed, self.is_conditional = "Idempotency-Key" in headers, "If-Match" in headers
        body = described.get("requestBody")
        self.body = None if body is None else type_text(next(iter(body["content"].values()))["schema"])
        self.is_body_required = body is not None and body["required"]
        (answer,) = (each for status, each in described["responses"].items() if status.startswith("2"))
        self.result, self.has_data = result_type(answer, schemas)

    def type_names(self) -> Iterator[str]:
        """Yield the names of the schemas that the method names."""
        for text in (self.body, self.result, *(type_text(each["schema"]) for each in self.query)):
            yield from re.findall(r"\b[A-Z]\w+", text or "")

    def method_text(self, is_async: bool) -> str:
        """Return the method of the operation."""
        ids = re.findall(r"\{(\w+)\}", self.path)
        positional = ["self", *(f"{each}: str" for each in ids)]
        if self.body is not None:
            positional.append(f"body: {self.body}" if self.is_body_required else f"body: {self.body} | None = None")
        options = [f"{python_name(each['name'])}: {type_text(each['schema'])} | None = None" for each in self.query]
        options += ["idempotency_key: str | None = None"] * self.is_keyed
        options += ["if_match: str | None = None"] * self.is_conditional
        arguments = [repr(self.method), self.path_text()]
        if self.query:
            pairs = ", ".join(f"{each['name']!r}: {python_name(each['name'])}" for each in self.query)
            arguments.append(f"query={{{pairs}}}")
        arguments += ["body=body"] * (self.body is not None)
        arguments += ["idempotency_key=idempotency_key or random_key()"] * self.is_keyed
        arguments += ["if_match=if_match"] * self.is_conditional
        arguments += ["has_data=True"] * self.has_data
        parameters = [*positional, *(["*", *options] if options else [])]
        call = f"{'await ' if is_async else ''}self._call({', '.join(arguments)})"
        run = f"        {call}\n" if self.result == "None" else self.returning(call)
        return (
            f"    {'async ' if is_async else ''}def {self.name}({', '.join(parameters)}) -> {self.result}:\n"
            f'        """{self.summary}.\n\n        `{self.method} {self.path}`\n        """\n{run}'
        )

    def returning(self, call: str) -> str:
        return f"        answer: {self.result} = {call}\n        return answer\n"

    def path_text(self) -> str:
        path = re.sub(r"\{(\w+)\}", r"{path_part(\1)}", self.path)
        return f'f"{path}"' if path != self.path else f'"{path}"'


def operation_name(method: str, path: str) -> tuple[str, str]:
    """Return the group and the name of an operation, by the rules of `clients/js/scripts/generate-types.mjs`."""
    group, *rest = path.split("/")[2:]
    words = [each for each in rest if not each.startswith("{")]
    if not words:
        if rest:
            return group, METHOD_NAMES[method]
        if method in ("PUT", "DELETE"):
            return group, method.lower()
        is_plural = group.endswith("s")
        if method == "POST":
            return group, "create" if is_plural else "run"
        return group, "list" if is_plural and group != "access" else "get"
    last, name = words[-1], "_".join(words).replace("-", "_")
    single = name.removesuffix("s")
    is_item = rest[-1].startswith("{")
    if method == "DELETE":
        return group, f"remove_{single}"
    if method in ("PATCH", "PUT"):
        return group, f"update_{single}"
    if method == "POST":
        is_collection = last.endswith("s") and not is_item and last != "access"
        return group, f"add_{single}" if is_collection else last.replace("-", "_")
    return group, f"get_{single}" if is_item else name


def result_type(answer: Schema, schemas: dict[str, Schema]) -> tuple[str, bool]:
    """Return the type of the result, and whether it is the member `data` of the answer.

    A page is returned whole, because it also has a cursor.
    """
    if "content" not in answer:
        return "None", False
    content = answer["content"]
    schema = content.get("application/json", next(iter(content.values())))["schema"]
    members = schemas[name_of(schema)].get("properties", {}) if "$ref" in schema else {}
    if "data" in members and "next_cursor" not in members:
        return type_text(members["data"]), True
    return type_text(schema), False


def render_operations(operations: list[Operation], *, is_async: bool) -> str:
    """Return the module of the operations."""
    groups: dict[str, list[Operation]] = {}
    for each in operations:
        groups.setdefault(each.group, []).append(each)
    standard = {"Any", "Literal", "None"}
    names = sorted({name for each in operations for name in each.type_names()} - standard)
    call = "Awaitable[Any]" if is_async else "Any"
    kind = "async" if is_async else "synchronous"
    text = (
        f'{HEAD}"""The REST operations of a server, {kind}.\n\n'
        "Each method returns the `data` of the answer, or a whole page. Raises: RequestFailed if the request fails.\n"
        '"""\n\n'
        f"from collections.abc import {'Awaitable, ' if is_async else ''}Callable\n"
        "from typing import Any, Literal\n\n"
        f"from synckairos_client.generated.rest_types import ({', '.join(names)})\n"
        "from synckairos_client.rest import path_part, random_key\n\n"
        f"Call = Callable[..., {call}]\n"
    )
    for group, members in groups.items():
        text += (
            f"\n\nclass {class_name(group)}:\n"
            f'    """Operations under `/v1/{group}`."""\n\n'
            "    def __init__(self, call: Call) -> None:\n        self._call = call\n\n"
            + "\n".join(each.method_text(is_async) for each in members)
        )
    rows = "".join(f"        self.{python_name(group)} = {class_name(group)}(call)\n" for group in groups)
    return (
        f'{text}\n\nclass Api:\n    """The REST operations of a server."""\n\n'
        f"    def __init__(self, call: Call) -> None:\n{rows}"
    )


def class_name(group: str) -> str:
    return "".join(each.capitalize() for each in group.split("-")) + "Operations"


def python_name(name: str) -> str:
    name = name.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


# -- types ------------------------------------------------------------------------------------------------------------


def render_types(schemas: dict[str, Schema], operations: list[Operation]) -> str:
    """Return the module of the types that the operations use, each type after the types that it names."""
    parts: dict[str, str] = {}

    def add(name: str, within: tuple[str, ...] = ()) -> None:
        assert name not in within, f"the schema {name} contains itself"
        for used in references(schemas[name]):
            if used not in parts:
                add(used, (*within, name))
        parts[name] = type_definition(name, schemas[name])

    for operation in operations:
        for name in operation.type_names():
            if name in schemas and name not in parts:
                add(name)
    return (
        f'{HEAD}"""The bodies and results of the REST operations."""\n\n'
        f"from typing import Any, Literal, NotRequired, TypedDict\n\n\n" + "\n\n".join(parts.values())
    )


def references(schema: Any) -> Iterator[str]:
    """Yield the names of the schemas that a schema names."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield name_of(schema)
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def type_definition(name: str, schema: Schema) -> str:
    """Return the definition of the type of a schema."""
    members = schema.get("properties", {})
    if not members:
        return f"{comment(schema.get('description'), '')}{name} = {type_text(schema)}\n"
    required = set(schema.get("required", ()))
    types = {
        each: type_text(value) if each in required else f"NotRequired[{type_text(value)}]"
        for each, value in members.items()
    }
    if any(keyword.iskeyword(each) for each in members):
        rows = "".join(
            f"{comment(value.get('description'), '    ')}    {each!r}: {types[each]},\n"
            for each, value in members.items()
        )
        return f'{comment(schema.get("description"), "")}{name} = TypedDict("{name}", {{\n{rows}}})\n'
    rows = "".join(
        f"{comment(value.get('description'), '    ')}    {each}: {types[each]}\n" for each, value in members.items()
    )
    return f"class {name}(TypedDict):\n{docstring(schema.get('description'))}{rows}"


def type_text(schema: Schema) -> str:
    """Return the type of a schema, as Python source."""
    if "$ref" in schema:
        return name_of(schema)
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    kind = schema.get("type")
    if kind is None:
        parts = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or [{}]
        if parts == [{}] or ("allOf" in schema and len(parts) > 1):
            return "Any"
        return " | ".join(dict.fromkeys(type_text(each) for each in parts))
    if isinstance(kind, list):
        return " | ".join(dict.fromkeys(type_text({**schema, "type": each}) for each in kind))
    if kind == "array":
        return f"list[{type_text(schema.get('items', {}))}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {type_text(values) if isinstance(values, dict) else 'Any'}]"
    return {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}[kind]


def name_of(reference: Schema) -> str:
    name: str = reference["$ref"].rpartition("/")[2]
    return name


def comment(text: str | None, indent: str) -> str:
    lines = textwrap.wrap(text or "", WIDTH - len(indent))
    return "".join(f"{indent}# {line}\n" for line in lines)


def docstring(text: str | None) -> str:
    if not text:
        return ""
    lines = textwrap.wrap(text.replace("\\", "\\\\").replace('"""', "'''"), WIDTH)
    if len(lines) == 1:
        return f'    """{lines[0]}"""\n\n'
    return '    """' + "\n    ".join(lines) + '\n    """\n\n'
