"""Rendering of one Markdown page of the documentation as HTML.

Links to other pages become paths of the site. Neighbouring code blocks of the same example in several languages become
a group of tabs. The HTML has no scripts and no styles: `docs/site.js` adds the buttons.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

SITE_PATH = "/docs"
"""Path of the site on the server, without the sub-path."""

_LANGUAGES = {"bash": "curl", "sh": "curl", "js": "JavaScript", "ts": "JavaScript", "python": "Python", "go": "Go"}
"""Name of the tab of a code block, by the language of the block. Blocks in other languages are in no tab."""

_INDEX = "README.md"

_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")

ImageSize = Callable[[str], tuple[int, int] | None]
"""Function that returns the width and the height in pixels of an image, by its path in the folder `docs`."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a page. `level` is 1 for `#`. `anchor` is unique in its page. `line` counts from 0."""

    level: int
    text: str
    anchor: str
    line: int


@dataclass(frozen=True, slots=True)
class MarkdownPage:
    """A page as HTML. `headings` has all its headings in their order; the first one is the title."""

    html: str
    headings: tuple[Heading, ...]


def heading_anchor(heading: str) -> str:
    """Return the anchor that renderers of Markdown make of the text of a heading, such as `at-zero` of `At zero`."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def page_path(file: str) -> str:
    """Return the path of a page in the site by its file in the folder `docs`, such as `guides/chess`.

    A `README.md` has the path of its folder. The path of the first page is empty.
    """
    if posixpath.basename(file) == _INDEX:
        return posixpath.dirname(file)
    return file.removesuffix(".md")


def find_headings(tokens: Sequence[Token]) -> list[Heading]:
    """Return the headings of a page. Of headings with the same anchor, the later ones get a number."""
    seen: Counter[str] = Counter()
    found = []
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        anchor = heading_anchor(inline.content)
        unique = f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor
        seen[anchor] += 1
        line = opening.map[0] if opening.map else 0
        found.append(Heading(int(opening.tag[1:]), plain_text(inline), unique, line))
    return found


def plain_text(inline: Token) -> str:
    """Return the text of an inline token without its marks, such as `Status pending` of ``Status `pending` ``."""
    texts = (" " if each.type == "softbreak" else each.content for each in inline.children or ())
    return " ".join("".join(texts).split())


def parse_markdown(text: str) -> list[Token]:
    """Return the tokens of a Markdown text. HTML in the text is plain text."""
    return _PARSER.parse(text)


def render_markdown(text: str, file: str, image_size: ImageSize = lambda _: None) -> MarkdownPage:
    """Return a page as HTML. `file` is its path in the folder `docs`, such as `guides/chess.md`."""
    tokens = parse_markdown(text)
    headings = find_headings(tokens)
    remaining = iter(headings)
    # The list begins and ends with a block, so its first and last token are no text of a cell.
    for before, token, after in zip([tokens[0], *tokens], tokens, [*tokens[1:], tokens[-1]], strict=False):
        if token.type == "heading_open":
            token.attrSet("id", next(remaining).anchor)
        elif token.type == "inline" and not token.content and before.type == "th_open":
            # Screen readers announce a header cell, so the empty corner of a table is no header cell.
            before.tag = after.tag = "td"
        for child in token.children or ():
            if child.type == "image":
                _set_image(child, file, image_size)
        if token.children:
            token.children = _with_site_links(token.children, file)
    html = _PARSER.renderer.render(_with_boxes(tokens), _PARSER.options, {})
    return MarkdownPage(html, tuple(headings))


# -- links and images --------------------------------------------------------------------------------------------------


def _with_site_links(children: Sequence[Token], file: str) -> list[Token]:
    """Return inline tokens with paths of the site in their links. Files outside the documentation have no link."""
    result = []
    is_unlinked = False
    for child in children:
        if child.type == "link_open":
            address = _site_address(str(child.attrGet("href")), file)
            is_unlinked = address is None
            child.attrSet("href", address or "")
        if child.type in ("link_open", "link_close") and is_unlinked:
            continue
        result.append(child)
    return result


def _site_address(link: str, file: str) -> str | None:
    """Return the address of a link in the site, None if it names a file outside the folder `docs`.

    Links to other hosts, and links inside the page, stay as they are.
    """
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return link
    target = posixpath.normpath(posixpath.join(posixpath.dirname(file), parts.path))
    if target.startswith(".."):
        return None
    path = page_path(target) if target.endswith(".md") else target
    return (f"{SITE_PATH}/{path}" if path else SITE_PATH) + (f"#{parts.fragment}" if parts.fragment else "")


def _set_image(image: Token, file: str, image_size: ImageSize) -> None:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(file), str(image.attrGet("src"))))
    image.attrSet("src", f"{SITE_PATH}/{target}")
    image.attrSet("loading", "lazy")
    # With its size in the page, an image that is loaded later does not move the text.
    size = image_size(target)
    if size is not None:
        image.attrSet("width", str(size[0]))
        image.attrSet("height", str(size[1]))


# -- blocks ------------------------------------------------------------------------------------------------------------


def _with_boxes(tokens: Sequence[Token]) -> list[Token]:
    """Return block tokens with tables and code blocks in boxes that can be scrolled, and with groups of tabs."""
    result: list[Token] = []
    at = tables = 0
    while at < len(tokens):
        token = tokens[at]
        if token.type == "fence":
            group = _example_group(tokens, at)
            result.append(_html(_render_tabs(group) if len(group) > 1 else _render_code(token)))
            at += len(group)
            continue
        if token.type == "table_open":
            tables += 1
            result.append(_html(f'<div class="table" tabindex="0" role="region" aria-label="Table {tables}">'))
        result.append(token)
        if token.type == "table_close":
            result.append(_html("</div>\n"))
        at += 1
    return result


def _html(content: str) -> Token:
    return Token("html_block", "", 0, content=content)


def _example_group(tokens: Sequence[Token], at: int) -> list[Token]:
    """Return the code blocks from `at` on that show one example in different languages: at least the block `at`."""
    group = [tokens[at]]
    names = {_LANGUAGES.get(_language(tokens[at]))}
    for token in tokens[at + 1 :]:
        name = _LANGUAGES.get(_language(token)) if token.type == "fence" else None
        if name is None or None in names or name in names:
            break
        names.add(name)
        group.append(token)
    return group


def _language(fence: Token) -> str:
    return fence.info.split()[0] if fence.info.strip() else ""


def _render_code(fence: Token) -> str:
    language = f' class="language-{escape(_language(fence))}"' if _language(fence) else ""
    code = escape(fence.content, quote=True)
    return f'<div class="code"><pre tabindex="0"><code{language}>{code}</code></pre></div>\n'


def _render_tabs(group: Sequence[Token]) -> str:
    panels = (f'<div data-tab="{_LANGUAGES[_language(each)]}">{_render_code(each)}</div>\n' for each in group)
    return f'<div class="tabs">\n{"".join(panels)}</div>\n'
