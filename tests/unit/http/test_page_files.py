"""The code of the pages: without comments, and with a tag by which browsers keep their copies."""

from pathlib import Path

import httpx

from synckairos.http.page_files import PageFiles

CODE = """// The module of a page.

/**
 * Return the address. `a * b`
 */
export const address = "http://example.org/*"; // A comment after code stays.
  // Indented
/* One line */
export const pattern = /^ *\\/\\//;
"""


async def test_code_is_served_without_the_lines_of_comments(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "page.js").write_text(CODE)
    (tmp_path / "page.css").write_text("/* Colours of\n   the page. */\nbody { color: red; }\n")
    files = PageFiles(tmp_path, "", [])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=files), base_url="http://pages") as client:
        script = await client.get("/texts/page.js")
        style = await client.get("/page.css")
        kept = await client.get("/texts/page.js", headers={"If-None-Match": script.headers["etag"]})
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.text.split("\n") == [
        "",
        'export const address = "http://example.org/*"; // A comment after code stays.',
        "export const pattern = /^ *\\/\\//;",
        "",
    ]
    assert (style.headers["content-type"], style.text) == ("text/css; charset=utf-8", "body { color: red; }\n")
    assert (kept.status_code, kept.content) == (304, b"")
