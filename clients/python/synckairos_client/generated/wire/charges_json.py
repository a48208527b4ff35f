# Generated from synckairos.wire.charges_json by `make python-client`. Do not edit.
"""Charges of a version as JSON: compact rows for stores, objects for clients."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synckairos_client.generated.clock.transition import Charge
from synckairos_client.generated.wire.instants import parse_instant_ms, render_instant

ChargeRow = tuple[str, int, int]
"""A charge in stored JSON: participant id, and begin and end in ms since the Unix epoch."""


def charge_rows(charges: Iterable[Charge]) -> list[ChargeRow]:
    """Return charges in the form of stored JSON."""
    return [(each.participant_id, each.began_at_ms, each.ended_at_ms) for each in charges]


def parse_charge_rows(rows: Iterable[Sequence[Any]] | None) -> tuple[Charge, ...]:
    """Return the charges of stored JSON; no charges for None.

    Raises: ValueError or TypeError if a row is not a participant id and two whole numbers.
    """
    charges = []
    for participant_id, began_at_ms, ended_at_ms in rows or ():
        if not isinstance(participant_id, str) or type(began_at_ms) is not int or type(ended_at_ms) is not int:
            raise TypeError("a charge is a participant id and two instants in ms")
        charges.append(Charge(participant_id, began_at_ms, ended_at_ms))
    return tuple(charges)


def charges_json(charges: Iterable[Charge]) -> list[dict[str, str]]:
    """Return charges for clients: `participant_id`, and the instants `from` and `to`, with ms, in UTC."""
    return [
        {
            "participant_id": each.participant_id,
            "from": render_instant(each.began_at_ms),
            "to": render_instant(each.ended_at_ms),
        }
        for each in charges
    ]


def charges_from_json(values: Iterable[Mapping[str, str]]) -> tuple[Charge, ...]:
    """Return the charges that `charges_json` rendered.

    Raises: KeyError if a member is missing. ValueError if `from` or `to` is not an instant.
    """
    return tuple(
        Charge(each["participant_id"], parse_instant_ms(each["from"]), parse_instant_ms(each["to"])) for each in values
    )
