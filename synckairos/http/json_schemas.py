"""JSON Schemas of the models, as both descriptions, OpenAPI's and AsyncAPI's, have them."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from synckairos.wire.field_docs import FIELD_DESCRIPTIONS

SCHEMA_REF_TEMPLATE = "#/components/schemas/{model}"


class SchemaGenerator(GenerateJsonSchema):
    """Pydantic's, but that null is no default of what may be left out, and patterns are JavaScript's."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if "default_factory" in schema or schema.get("default") in (None, "", 0):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        found = super().str_schema(schema)
        if "pattern" in found:
            found["pattern"] = found["pattern"].replace(r"\z", "$")  # whose $ takes no line feed
        return found


def schemas_for(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Return the schemas of models, and of all that they hold, by name."""
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
    """Say what an object's members mean, where their model leaves it to the word."""
    for name, member in schema.get("properties", {}).items():
        if name in FIELD_DESCRIPTIONS and not member.keys() & {"description", "$ref", "const"}:
            member["description"] = FIELD_DESCRIPTIONS[name]


def schema_ref(model: type[BaseModel]) -> dict[str, str]:
    """Return what refers to a model's schema."""
    return {"$ref": SCHEMA_REF_TEMPLATE.format(model=model.__name__)}


def without_titles(schema: Any) -> Any:
    """Drop the titles pydantic makes up from names: they say nothing that the name doesn't."""
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
