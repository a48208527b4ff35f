"""The page `docs/reference/presets.md`, rendered from the data files of the presets.

Run `python -m tests.unit.docs.presets_page` to write the file.
"""

from itertools import groupby

from synckairos.presets.catalogue import Preset, load_presets
from tests.unit.docs.pages import REFERENCE

PAGE = REFERENCE / "presets.md"

_HEAD = """# Presets

A preset is a complete session of a known game, format or exercise, with a style for its clocks. `GET /v1/presets`
lists the presets, `GET /v1/presets/{{category}}/{{name}}` has the session of one, and `synckairos presets` shows both
without a server. Neither needs a credential. `python -m tests.unit.docs.presets_page` writes this page from the data
files in `synckairos/presets`. A test plays each preset by the rules of its sources.

## Create a session

`preset` stands in the place of the [other members](creating.md) of a creation:

```json
{{"preset": "debate/british-parliamentary",
 "participants": [
   {{"participant_id": "0198c0de-0000-7000-8000-00000000000a", "display_name": "Ada"}},
   {{"participant_id": "0198c0de-0000-7000-8000-00000000000b", "display_name": "Ben"}}]}}
```

The members of the request change the preset:

- A member replaces the whole member of the preset, also `clock`, `plan` and `warnings_ms`. null removes it.
- `participants` of a preset with **fixed roles** take the roles in the order of the list. Members that a participant
  leaves out are those of its role, and null removes one. Missing participants keep the name of the role. More
  participants than roles are a fault.
- `participants` of another preset replace its participants, which are only examples.
- Each participant without a `participant_id` gets a random one. The plan of the preset names the participants by
  their roles.
- The members of `metadata` are added to those of the preset. `metadata.preset` is the name of the preset, so that a
  page can find its style.

The result is checked as every creation, and the paths of [faults](errors.md) are those of the result. An unknown name
is refused with `VALIDATION_ERROR` and names that are similar. The audit stores the result, so that a later release
with another preset replays the session unchanged. A release without presets refuses `preset` as an unknown member.

## Style

`view.face` is the face of the clocks, as the [element](../guides/javascript.md#elements) `sync-clock` shows it.
`view.layout` is the arrangement of a page:

| layout | shows |
|---|---|
| `versus` | a clock for each of two participants |
| `single` | one clock |
| `agenda` | one clock with the [plan](plans.md) |
| `list` | a row for each participant |

{count} presets in {categories} categories follow.
"""

_COLUMNS = "| preset | what the clock does | roles | style | sources |\n|---|---|---|---|---|\n"


def render() -> str:
    """Return the text of the page."""
    presets = list(load_presets().values())
    groups = [(name, list(each)) for name, each in groupby(presets, key=lambda preset: preset.category)]
    parts = [_HEAD.format(count=len(presets), categories=len(groups))]
    for name, members in groups:
        parts.append(
            f"\n## {name}\n\n| preset | what the clock does | roles | style | sources |\n|---|---|---|---|---|\n"
        )
        parts += map(_render_row, members)
    return "".join(parts)


def _render_row(preset: Preset) -> str:
    roles = len(preset.session.get("participants", [])) if preset.has_fixed_roles else "free"
    sources = ", ".join(f"[{number}]({url})" for number, url in enumerate(preset.sources, 1)) or "–"
    style = f"{preset.view['face']}, {preset.view['layout']}"
    return f"| `{preset.name}` | **{preset.title}.** {preset.text} | {roles} | {style} | {sources} |\n"


if __name__ == "__main__":
    PAGE.write_text(render())
