"""Program that renders the Helm chart for several values, and checks each object with the schemas of Kubernetes.

It runs in the environment build/deployment, which has Helm and the schemas. Standard input is a JSON object of values
by name. Standard output is a JSON object by the same names: `error` is the refusal of Helm, `objects` are the rendered
objects, `invalid` are objects that do not match their schema, and `without_schema` are kinds of other projects.
"""

import json
import sys
from typing import Any

import helm_python
import kubernetes_validate
import yaml

VERSIONS = ("1.28", "1.37")
"""Versions of Kubernetes: the oldest one of the chart, and the newest one of which there are schemas."""


def render(chart: Any, values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"error": "", "objects": [], "invalid": [], "without_schema": []}
    try:
        chart.validate_schema(values)
        files = chart.render(values, name="clock", namespace="production")
    except helm_python.HelmError as error:
        return found | {"error": str(error)}
    texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml")]
    found["objects"] = [each for text in texts for each in yaml.safe_load_all(text) if each]
    for each in found["objects"]:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.SchemaNotFoundError:
                found["without_schema"].append(each["kind"])
            except kubernetes_validate.ValidationError as error:
                found["invalid"].append(f"{each['kind']} {each['metadata']['name']}, {version}: {error}")
    return found


def main() -> None:
    folder = sys.argv[1]
    with helm_python.Chart.load(folder) as chart:
        rendered = {name: render(chart, values) for name, values in json.load(sys.stdin).items()}
    findings = helm_python.lint(folder)["messages"]
    json.dump({"rendered": rendered, "lint": [each["error"] for each in findings if each["severity"] > 1]}, sys.stdout)


main()
