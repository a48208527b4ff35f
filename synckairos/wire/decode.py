"""Bytes of JSON to values, strictly: what one reader takes and another doesn't is refused, not guessed at."""

import json
from typing import Any

import orjson

from synckairos.errors import ValidationFailed


def decode(body: bytes) -> Any:
    """Parse a JSON text; nothing at all counts as an empty object.

    Raises:
        ValidationFailed: it isn't JSON (NaN and lone surrogates aren't), names a member twice, or is nested too deep.
    """
    if not body or body == b"{}":
        return {}
    try:
        # The strict reader decides what is JSON; it would let duplicate names and inexact integers through, though.
        orjson.loads(body)
        return json.loads(body, object_pairs_hook=_object)
    except orjson.JSONDecodeError as error:
        raise ValidationFailed.at("", f"malformed JSON: {error}") from None
    except RecursionError:
        raise ValidationFailed.at("", "malformed JSON: nested too deep") from None
    except _TwiceNamed as error:
        raise ValidationFailed.at(error.name, "this name appears twice in one object") from None
    except ValueError:
        raise ValidationFailed.at("", "malformed JSON: a number with too many digits") from None


class _TwiceNamed(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        seen: set[str] = set()
        for name, _ in members:
            if name in seen:
                raise _TwiceNamed(name)
            seen.add(name)
    return made
