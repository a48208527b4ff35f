"""The presets of this release, read from the JSON files in the folders of this package.

`chess/fide-blitz.json` is the preset `chess/fide-blitz`. `docs/reference/presets.md` describes the files.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct

FOLDER = Path(__file__).parent

MAX_SUGGESTIONS = 3
"""Maximum number of names that the error for an unknown preset suggests."""


class Preset(Struct, frozen=True):
    """One preset.

    `view` has the style of its clocks: `face` and `layout`. `sources` are the URLs of the rules. `session` is the body
    of a creation, in which ids of participants are names, such as `white`. If `has_fixed_roles`, the participants are
    the roles of the format. Otherwise they are examples, which the participants of a request replace.
    """

    name: str
    title: str
    text: str
    view: dict[str, str]
    has_fixed_roles: bool
    sources: list[str]
    session: dict[str, Any]

    @property
    def category(self) -> str:
        """Return the first part of the name."""
        return self.name.partition("/")[0]

    def summary(self) -> dict[str, Any]:
        """Return the JSON object of the preset in a list: all members but the sources and the session."""
        return {"name": self.name, "title": self.title, "text": self.text, "view": self.view}

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of the preset with all members."""
        return {
            **self.summary(),
            "has_fixed_roles": self.has_fixed_roles,
            "sources": self.sources,
            "session": self.session,
        }


@cache
def load_presets() -> Mapping[str, Preset]:
    """Return all presets by name, sorted by name. The values are shared and must not be changed."""
    paths = {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in FOLDER.rglob("*.json")}
    return {name: Preset(name=name, **orjson.loads(paths[name].read_bytes())) for name in sorted(paths)}


def suggest_names(name: str) -> list[str]:
    """Return the names of presets that resemble `name`, the best first. Empty if no name does."""
    names = list(load_presets())
    by_last_part = [each for each in names if name.rpartition("/")[2] == each.rpartition("/")[2]]
    similar = get_close_matches(name.lower(), names, MAX_SUGGESTIONS)
    return list(dict.fromkeys([*by_last_part, *similar]))[:MAX_SUGGESTIONS]


def unknown_preset_text(name: str) -> str:
    """Return the message of the error for an unknown preset."""
    suggested = suggest_names(name[:200])
    hint = (
        f"did you mean {' or '.join(suggested)}?"
        if suggested
        else "`GET /v1/presets` and `synckairos presets list` list all"
    )
    return f"unknown preset; {hint}"
