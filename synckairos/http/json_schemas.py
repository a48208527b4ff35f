"""JSON Schemas of the wire models, for the OpenAPI and AsyncAPI descriptions."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from synckairos.wire.field_docs import FIELD_DESCRIPTIONS

SCHEMA_REF_TEMPLATE = "#/components/schemas/{model}"


class SchemaGenerator(GenerateJsonSchema):
    """Pydantic's generator of JSON Schemas with two changes for readers of the API description.

    The generator omits defaults that only mean "absent": null, an empty text and 0. Patterns use JavaScript's syntax.
    """

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema of a member with a default. A default that only means "absent" is left out."""
        if "default_factory" in schema or schema.get("default") in (None, "", 0):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        """Return the schema of a text. Its pattern has the syntax of JavaScript."""
        found = super().str_schema(schema)
        if "pattern" in found:
            found["pattern"] = found["pattern"].replace(
                r"\z", "$"
            )  # in JavaScript $ does not match before a last line feed
        return found


def schemas_for(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Return the JSON Schemas of the models and of all models that they contain, by model name."""
    _, document = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)],
        ref_template=SCHEMA_REF_TEMPLATE,
        schema_generator=SchemaGenerator,
    )
    found: dict[str, Any] = without_titles(document["$defs"])
    for schema in found.values():
        add_field_docs(schema)
    return found


def add_field_docs(schema: Any) -> None:
    """Add the descriptions of `FIELD_DESCRIPTIONS` to the properties of `schema`. `schema` is changed in place.

    A property that has a description, a `$ref` or a constant value stays unchanged.
    """
    for name, member in schema.get("properties", {}).items():
        if name in FIELD_DESCRIPTIONS and not member.keys() & {"description", "$ref", "const"}:
            member["description"] = FIELD_DESCRIPTIONS[name]


def schema_ref(model: type[BaseModel]) -> dict[str, str]:
    """Return a JSON reference to the schema of a model."""
    return {"$ref": SCHEMA_REF_TEMPLATE.format(model=model.__name__)}


def without_titles(schema: Any) -> Any:
    """Return a copy of a JSON Schema without titles.

    Pydantic's titles only repeat the name of the model or property.
    """
    match schema:
        case dict():
            return {
                name: without_titles(value)
                for name, value in schema.items()
                if not (name == "title" and isinstance(value, str))
            }
        case list():
            return [without_titles(item) for item in schema]
        case _:
            return schema
