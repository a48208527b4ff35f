"""`replace` for frozen `msgspec.Struct` values of the hot path. Type checkers check field names and types.

One command creates about thirty values, and a switch makes five copies, so the cost of a copy matters. Decision record
0008 has the measurement against dataclasses.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The type stub of msgspec accepts any field name and any type, so type checkers see `replace` of dataclasses.
    from dataclasses import replace
else:
    from msgspec.structs import replace

__all__ = ["replace"]
