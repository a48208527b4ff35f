"""The pages of the documentation, as tests read them: text, tables and code blocks."""

import re
from pathlib import Path

DOCUMENTS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCUMENTS / "reference"

Row = dict[str, str]


def read_page(name: str) -> str:
    """Return the text of a page of the Reference section."""
    return (REFERENCE / name).read_text()


def tables(text: str) -> list[list[Row]]:
    """Return every table of a page: its rows as cells by the name of their column, in the order of the page."""
    found: list[list[Row]] = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        header, _, *lines = block.splitlines()
        names = _cells(header)
        found.append([dict(zip(names, _cells(line), strict=True)) for line in lines])
    return found


def table_after(text: str, heading: str) -> list[Row]:
    """Return the first table after a heading, such as `## Codes`."""
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"there is no heading {heading!r}"
    return tables(rest)[0]


def code_blocks(text: str, language: str) -> list[str]:
    """Return the fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def code_words(cell: str) -> list[str]:
    """Return the words of a cell that are set as code."""
    return re.findall(r"`([^`]+)`", cell)


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
