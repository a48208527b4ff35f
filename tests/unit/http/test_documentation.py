"""The documentation site: every page of `docs` is there, its links lead somewhere, and no page is large."""

import gzip
import re
from functools import cache
from html import unescape
from pathlib import Path

import orjson
import pytest

from synckairos.http.documentation.markdown import find_headings, heading_anchor, parse_markdown, render_markdown
from synckairos.http.documentation.navigation import API_PAGE, read_sections, render_navigation
from synckairos.http.documentation.search_index import render_search_index
from synckairos.http.documentation.site import SEARCH_INDEX, DocumentationSite
from synckairos.http.page_files import page_folder
from tests.unit.docs.pages import DOCUMENTS

MAX_PAGE_BYTES = 60 * 1024
MAX_INDEX_BYTES = 60 * 1024

SITE = DocumentationSite(DOCUMENTS, "")


@cache
def page(path: str) -> str:
    return SITE.render(path).decode()


@cache
def anchors(path: str) -> set[str]:
    return {unescape(each) for each in re.findall(r'\bid="([^"]*)"', page(path))}


@pytest.mark.parametrize("path", [pytest.param(path, id=path or "index") for path in SITE.paths])
def test_each_link_of_a_page_of_the_site_leads_to_a_page_a_file_or_a_heading(path: str) -> None:
    broken = []
    for link in (unescape(each) for each in re.findall(r'(?:href|src)="([^"]*)"', page(path))):
        target, _, anchor = link.partition("#")
        if not target:
            # The script of the API page adds the part about the sockets.
            is_there = (path == API_PAGE and anchor == "v3") or anchor in anchors(path)
        elif not re.fullmatch(r"/docs(/.*)?", target):
            is_there = "://" in target or target.startswith(("mailto:", "/"))
        else:
            name = target.removeprefix("/docs").removeprefix("/")
            files = (page_folder("docs") / name, DOCUMENTS / name)
            is_there = anchor in anchors(name) | {""} if name in SITE.paths else any(each.is_file() for each in files)
        if not is_there:
            broken.append(link)
    assert broken == []


def test_a_page_with_its_scripts_and_styles_has_at_most_60_kib_after_gzip() -> None:
    view = page_folder("view")
    own = ("site.css", "site.js", "search.js", "copy.js")
    files = [page_folder("docs") / name for name in own] + [view / "tokens.css", view / "archivo.woff2"]
    shared = sum(len(gzip.compress(file.read_bytes())) for file in files)
    sizes = {
        path: shared + len(gzip.compress(html.encode())) for path, html in ((path, page(path)) for path in SITE.paths)
    }
    assert {path: size for path, size in sizes.items() if size > MAX_PAGE_BYTES} == {}
    assert len(gzip.compress(SITE.render(SEARCH_INDEX))) <= MAX_INDEX_BYTES


def test_site_has_each_markdown_file_and_the_navigation_each_page_of_the_index() -> None:
    files = {each.relative_to(DOCUMENTS).as_posix() for each in DOCUMENTS.rglob("*.md")}
    paths = {re.sub(r"(^|/)README\.md$", "", each).removesuffix(".md") for each in files}
    assert set(SITE.paths) == paths | {API_PAGE}
    navigation = render_navigation(read_sections((DOCUMENTS / "README.md").read_text()), "")
    listed = set(re.findall(r'href="/docs/([^"]*)"', navigation))
    above_listed = {path for path in SITE.paths for other in listed if path.startswith(f"{other}/")}
    assert set(SITE.paths) - listed - above_listed == {"", "glossary"}


@pytest.mark.parametrize(
    ("path", "marked"),
    [
        ("guides/chess", "guides/chess"),
        ("inside/decisions/0007-large-sessions-travel-as-what-changed", "inside/decisions"),
    ],
    ids=["page", "page-below-a-list"],
)
def test_navigation_marks_the_page_or_the_list_that_has_it(path: str, marked: str) -> None:
    assert re.findall(r'<a href="/docs/([^"]*)" aria-current="page">', page(path)) == [marked]


def test_search_index_has_every_heading_with_its_anchor() -> None:
    index = orjson.loads(SITE.render(SEARCH_INDEX))
    found = {(index["pages"][page][0], text, anchor) for page, text, anchor, _ in index["headings"]}
    for path in set(SITE.paths) - {API_PAGE}:
        file = next(each for each in (DOCUMENTS / path / "README.md", DOCUMENTS / f"{path}.md") if each.is_file())
        for heading in find_headings(parse_markdown(file.read_text())):
            assert (path, heading.text, "" if heading.level == 1 else heading.anchor) in found


def test_search_index_has_a_word_once_in_a_page_below_its_first_heading() -> None:
    index = orjson.loads(render_search_index({"a.md": "# Clock\n\n[Flag](b.md#x)\n\n## Zero\n\nThe flag falls.\n"}))
    assert index == {"pages": [["a", "Clock"]], "headings": [[0, "Clock", "", "flag"], [0, "Zero", "zero", "falls"]]}


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("[a](../modes/at-zero.md#warnings)", '<a href="/docs/modes/at-zero#warnings">a</a>'),
        ("[a](../README.md)", '<a href="/docs">a</a>'),
        ("[a](examples/README.md)", '<a href="/docs/guides/examples">a</a>'),
        ("[a](examples/exam.json)", '<a href="/docs/guides/examples/exam.json">a</a>'),
        ("[a](#part)", '<a href="#part">a</a>'),
        ("[a](https://host/x.md)", '<a href="https://host/x.md">a</a>'),
        ("[`a`](../../CHANGELOG.md) b", "<code>a</code> b"),
        ("![a](../images/x.png)", '<img src="/docs/images/x.png" alt="a" loading="lazy" width="3" height="2" />'),
        ("<script>1</script>", "&lt;script&gt;1&lt;/script&gt;"),
    ],
    ids=["page", "index", "folder", "file", "anchor", "host", "outside", "image", "script"],
)
def test_links_and_images_become_paths_of_the_site(text: str, html: str) -> None:
    assert render_markdown(text, "guides/chess.md", lambda _: (3, 2)).html == f"<p>{html}</p>\n"


@pytest.mark.parametrize(
    ("languages", "tabs"),
    [
        (["bash", "js", "python"], ["curl", "JavaScript", "Python"]),
        (["sh", "bash"], []),
        (["bash", "json"], []),
        (["bash"], []),
        (["python", "js", "python"], ["Python", "JavaScript"]),
    ],
    ids=["three", "same-language", "request-and-answer", "one", "two-and-one"],
)
def test_neighbouring_code_blocks_in_different_languages_are_tabs(languages: list[str], tabs: list[str]) -> None:
    text = "\n".join(f"```{language}\n1 < 2\n```\n" for language in languages)
    html = render_markdown(text, "a.md").html
    assert re.findall(r'data-tab="([^"]*)"', html) == tabs
    assert html.count("1 &lt; 2") == len(languages)


def test_empty_corner_of_a_table_is_no_header_cell() -> None:
    html = render_markdown("| | a |\n|---|---|\n| b | c |\n", "a.md").html
    assert re.findall(r"<t[hd]>.*?</t[hd]>", html) == ["<td></td>", "<th>a</th>", "<td>b</td>", "<td>c</td>"]
    assert "<th></th>" not in "".join(map(page, SITE.paths))


def test_text_between_code_blocks_keeps_them_apart() -> None:
    assert "tabs" not in render_markdown("```bash\n1\n```\n\nor\n\n```js\n2\n```\n", "a.md").html


def test_headings_with_the_same_text_get_different_anchors() -> None:
    found = render_markdown("# A `b` c\n## Part\n## Part\n", "a.md").headings
    assert [(each.text, each.anchor) for each in found] == [
        ("A b c", "a-b-c"),
        ("Part", "part"),
        ("Part", "part-1"),
    ]
    assert heading_anchor("At zero: `on_timeout`") == "at-zero-on_timeout"


async def test_each_page_is_kept_after_its_first_request(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# First\n")
    site = DocumentationSite(tmp_path, "/clock")
    first = await site.read_page("")
    assert first is not None
    assert b'href="/clock/docs/site.css"' in first
    (tmp_path / "README.md").write_text("# Second\n")
    assert await site.read_page("") is first
    assert await site.read_page("missing") is None
