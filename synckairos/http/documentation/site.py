"""The documentation site: the pages of the folder `docs` in the frame of the site, each rendered at its first request.

The Markdown files are in the package and not their HTML, so the pages are never older than the files. To render a page
takes 3 to 15 ms, one time in each process.
"""

import asyncio
import re
import struct
from functools import cached_property
from html import escape
from pathlib import Path

from synckairos.http.documentation.markdown import MarkdownPage, page_path, render_markdown
from synckairos.http.documentation.navigation import API_PAGE, Section, read_sections, render_navigation
from synckairos.http.documentation.search_index import render_search_index
from synckairos.http.page_files import add_common_head
from synckairos.http.sub_path import add_sub_path

SEARCH_INDEX = "search.json"
"""Path of the search index in the site."""

_TEMPLATES = Path(__file__).parent

_PART = re.compile(r"<!-- (\w+) -->")  # A place in the template of a page.

_PNG_SIZE = slice(16, 24)  # Width and height in the header of a PNG file, as two big-endian integers of 32 bits.


class DocumentationSite:
    """All pages of the documentation by their paths, such as `guides/chess`. The path of the first page is empty."""

    def __init__(self, folder: Path, root_path: str) -> None:
        """Take the folder `docs`, and the public sub-path of the server. No page is read yet."""
        self._folder = folder
        self._root_path = root_path
        self._files = {page_path(name): name for name in self._file_names()}
        self._rendered: dict[str, bytes] = {}

    @property
    def paths(self) -> list[str]:
        """Return the paths of all pages, sorted."""
        return sorted({*self._files, API_PAGE})

    async def read_page(self, path: str) -> bytes | None:
        """Return the HTML of a page, or the search index. None if there is nothing at this path."""
        if path not in self._files and path not in (API_PAGE, SEARCH_INDEX):
            return None
        if path not in self._rendered:
            self._rendered[path] = await asyncio.to_thread(self.render, path)
        return self._rendered[path]

    def render(self, path: str) -> bytes:
        """Return the HTML of the page at a path, or the search index. The path must exist."""
        if path == SEARCH_INDEX:
            return render_search_index({each: self._read(each) for each in self._files.values()})
        if path == API_PAGE:
            return self._frame(path, "API", (_TEMPLATES / "api.html").read_text())
        file = self._files[path]
        page = render_markdown(self._read(file), file, self._image_size)
        end_of_title = "</h1>\n"
        html = page.html.replace(end_of_title, end_of_title + _render_contents(page), 1)
        return self._frame(path, page.headings[0].text, html)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _frame(self, path: str, title: str, content: str) -> bytes:
        parts = {
            "title": escape(title),
            "navigation": render_navigation(self._sections, path),
            "content": content,
        }
        text = _PART.sub(lambda found: parts[found[1]], self._template)
        return add_sub_path(text.encode(), self._root_path)

    @cached_property
    def _template(self) -> str:
        return add_common_head((_TEMPLATES / "page.html").read_bytes()).decode()

    @cached_property
    def _sections(self) -> list[Section]:
        return read_sections(self._read("README.md"))

    def _file_names(self) -> list[str]:
        return [each.relative_to(self._folder).as_posix() for each in self._folder.rglob("*.md")]

    def _read(self, file: str) -> str:
        return (self._folder / file).read_text(encoding="utf-8")

    def _image_size(self, file: str) -> tuple[int, int] | None:
        if not file.endswith(".png"):
            return None
        with (self._folder / file).open("rb") as image:
            width, height = struct.unpack(">II", image.read(_PNG_SIZE.stop)[_PNG_SIZE])
        return width, height


def _render_contents(page: MarkdownPage) -> str:
    """Return links to the headings of level 2, if there are several."""
    headings = [each for each in page.headings if each.level == 2]
    if len(headings) < 2:
        return ""
    items = "".join(f'<li><a href="#{each.anchor}">{escape(each.text)}</a></li>' for each in headings)
    title = '<h2 id="contents-title">On this page</h2>'
    return f'<nav class="contents" aria-labelledby="contents-title">{title}<ul>{items}</ul></nav>\n'
