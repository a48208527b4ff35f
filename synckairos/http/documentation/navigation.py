"""The navigation of the documentation: the sections of `docs/README.md` with their links, in its order."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from markdown_it.token import Token

from synckairos.http.documentation.markdown import SITE_PATH, page_path, parse_markdown, plain_text

API_PAGE = "api"
"""Path in the site of the page that is rendered from the descriptions of REST and of the sockets."""

_API_SECTION = "Reference"
_API_TITLE = "REST and sockets: try it"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the navigation. `links` are the paths of its pages in the site, with their titles."""

    title: str
    links: tuple[tuple[str, str], ...]


def read_sections(index: str) -> list[Section]:
    """Return the sections of the index page, the Markdown text `index`: each heading of level 2 with its list."""
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    tokens = parse_markdown(index)
    in_item = False
    for before, token in pairwise(tokens):
        if token.type == "inline" and before.type == "heading_open" and before.tag == "h2":
            sections.append((plain_text(token), [(API_PAGE, _API_TITLE)] if token.content == _API_SECTION else []))
        in_item = before.type == "list_item_open" or (in_item and before.type == "paragraph_open")
        if token.type == "inline" and in_item and sections:
            sections[-1][1].append(_first_link(token))
    return [Section(title, tuple(links)) for title, links in sections]


def _first_link(item: Token) -> tuple[str, str]:
    """Return the path and the text of the link at the beginning of a list item."""
    children: Sequence[Token] = item.children or ()
    start = next(at for at, each in enumerate(children) if each.type == "link_open")
    end = next(at for at, each in enumerate(children) if each.type == "link_close")
    text = "".join(each.content for each in children[start + 1 : end])
    return page_path(posixpath.normpath(str(children[start].attrGet("href")))), text


def render_navigation(sections: Sequence[Section], current: str) -> str:
    """Return the HTML of the navigation. The page with the path `current`, or the page above it, is marked."""
    paths = {path for section in sections for path, _ in section.links}
    while current and current not in paths:
        current = posixpath.dirname(current)
    parts = []
    for section in sections:
        items = "".join(_item(path, title, current) for path, title in section.links)
        is_open = " open" if any(path == current for path, _ in section.links) or not current else ""
        parts.append(f"<details{is_open}><summary>{escape(section.title)}</summary><ul>{items}</ul></details>\n")
    return "".join(parts)


def _item(path: str, title: str, current: str) -> str:
    mark = ' aria-current="page"' if path == current else ""
    return f'<li><a href="{SITE_PATH}/{path}"{mark}>{escape(title)}</a></li>'
