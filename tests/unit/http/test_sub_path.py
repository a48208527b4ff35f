"""Sub-path: removed one time from paths that begin with it. All other paths stay unchanged."""

from typing import Any

import pytest

from synckairos.http.sub_path import SubPathApp, add_sub_path


async def seen_path(path: str, kind: str = "http", root_path: str = "/clock") -> tuple[str, str]:
    """Return the path and the sub-path that the application behind `SubPathApp` gets."""
    seen: list[tuple[str, str]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], scope["root_path"]))

    given = {"type": kind, "path": path, "root_path": ""}
    await SubPathApp(application, root_path)(given, None, None)  # type: ignore[arg-type]
    assert given["path"] == path
    return seen[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/clock/v1/time", "/v1/time"),
        ("/v1/time", "/v1/time"),
        ("/clock/ws", "/ws"),
        ("/ws", "/ws"),
        ("/clock", "/"),
        ("/clock/", "/"),
        ("/", "/"),
        ("/clock/clock/v1/time", "/clock/v1/time"),
        ("/clock//v1/time", "//v1/time"),
        ("//clock/v1/time", "//clock/v1/time"),
        ("/clockwork/v1/time", "/clockwork/v1/time"),
        ("/CLOCK/v1/time", "/CLOCK/v1/time"),
        ("/v1/clock", "/v1/clock"),
        ("/clock/../v1/time", "/../v1/time"),
        ("", ""),
    ],
)
async def test_path_loses_the_sub_path_once_if_it_begins_with_it(kind: str, path: str, inside: str) -> None:
    assert await seen_path(path, kind) == (inside, "/clock")


async def test_sub_path_of_several_segments_is_removed_as_a_whole() -> None:
    for path, inside in (("/apps/clock/v1", "/v1"), ("/apps/v1", "/apps/v1"), ("/clock/v1", "/clock/v1")):
        assert await seen_path(path, root_path="/apps/clock") == (inside, "/apps/clock")


async def test_other_scopes_are_unchanged() -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    await SubPathApp(application, "/clock")({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == [{"type": "lifespan"}]


def test_links_of_a_page_to_the_server_get_the_sub_path_and_no_others() -> None:
    page = (
        b'<a href="/demo"><script src="/docs/docs.js"></script><use href="#icon"/><a href="//host/x">'
        b'<a href="https://host/x"><b data-href="x" title="/x">'
    )
    assert add_sub_path(page, "/clock") == page.replace(b'="/demo', b'="/clock/demo').replace(
        b'="/docs', b'="/clock/docs'
    )
    assert add_sub_path(page, "") == page
