"""Code blocks of the documentation pages, for tests that run them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def snippets(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in one language, in order. Fails if there are none."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no {language} snippet"
    return found


def first_snippet(page: Path, language: str) -> str:
    """Return the first code block of a page in one language."""
    return snippets(page, language)[0]
