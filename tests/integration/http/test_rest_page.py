"""The documentation page of REST lists each described path with the status of its answer."""

from typing import Any

import httpx

from tests.unit.docs.pages import code_words, read_page, tables


def listed() -> dict[str, str]:
    """Return the status of each operation on the page, by method and path."""
    rows = [row for table in tables(read_page("rest.md")) if "path" in table[0] for row in table]
    found = {code_words(row["path"])[0]: row["answer"] for row in rows}
    assert len(found) == len(rows)
    return found


def described(paths: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the first success status of each operation in the OpenAPI description, by method and path."""
    return {
        f"{method.upper()} {path}": next(status for status in sorted(operation["responses"]) if status < "300")
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


async def test_page_lists_each_operation_with_the_status_of_its_answer(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert listed() == described(paths)


async def test_page_names_the_query_parameters_of_each_read(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    text = read_page("rest.md")
    for path, methods in paths.items():
        for parameter in methods.get("get", {}).get("parameters", []):
            if parameter["in"] == "query":
                assert f"`{parameter['name']}`" in text or f"?{parameter['name']}=" in text, path
