"""The file `llms.txt`: the index of the documentation in the form that language models read.

Run `python -m tests.unit.docs.llms_txt` to write the file.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILE = ROOT / "llms.txt"

SUMMARY = (
    "A state server for timed, shared activities: chess clocks, quizzes, auctions, debates, exams, meetings and "
    "working hours. REST, WebSockets and event streams send each change once; clients calculate the time in between."
)


def render() -> str:
    """Return the text of the file: the index of the documentation with links from the root of the repository."""
    index = (ROOT / "docs" / "README.md").read_text()
    sections = index[index.index("## ") :]
    links = re.sub(r"\]\((?!https?:)([^)]+)\)", r"](docs/\1)", sections)
    return f"# SyncKairos\n\n> {SUMMARY}\n\n{links.strip()}\n\n## Packages\n\n{PACKAGES}"


PACKAGES = """- [Server](README.md): installation, and a first session.
- [@synckairos/client](clients/js/README.md): the client for browsers and Node.
- [synckairos-client](clients/python/README.md): the client for Python.
"""

if __name__ == "__main__":
    FILE.write_text(render())
