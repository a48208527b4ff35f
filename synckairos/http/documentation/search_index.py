"""The index of the search in the documentation: the headings of all pages, and the words below each heading."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from synckairos.http.documentation.markdown import find_headings, page_path, parse_markdown

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.]*[A-Za-z0-9]")
_LINK_TARGET = re.compile(r"\]\([^)]*\)")
_MIN_LENGTH = 4
_MAX_PAGES = 16
"""A word that more pages have below their headings is not in the index, because it selects too little."""


def render_search_index(texts: Mapping[str, str]) -> bytes:
    """Return the index as JSON: `pages` as `[path, title]`, and `headings`.

    A heading is `[number of its page, text, anchor, words]`. `words` are the words below it that no earlier heading of
    the page has, in lower case and separated by spaces. Words of many pages are left out. `texts` are the Markdown
    texts by their file in the folder `docs`.
    """
    pages: list[list[str]] = []
    headings: list[list[Any]] = []
    pages_by_word: Counter[str] = Counter()
    for file in sorted(texts):
        lines = texts[file].splitlines()
        found = find_headings(parse_markdown(texts[file]))
        seen: set[str] = set()
        pages.append([page_path(file), found[0].text])
        for heading, end in zip(found, [*(each.line for each in found[1:]), len(lines)], strict=True):
            words = _words("\n".join(lines[heading.line + 1 : end])) - seen
            seen.update(words)
            anchor = "" if heading.level == 1 else heading.anchor
            headings.append([len(pages) - 1, heading.text, anchor, words])
        pages_by_word.update(seen)
    for entry in headings:
        entry[3] = " ".join(sorted(each for each in entry[3] if pages_by_word[each] <= _MAX_PAGES))
    return orjson.dumps({"pages": pages, "headings": headings})


def _words(text: str) -> set[str]:
    return {each.lower() for each in _WORD.findall(_LINK_TARGET.sub("]", text)) if len(each) >= _MIN_LENGTH}
