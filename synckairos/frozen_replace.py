"""`replace` for the frozen values of the hot path (`msgspec.Struct`), with checked field names and types.

One command creates about thirty values and a switch makes five copies, so their cost counts. Decision record 0008 has
the measurement against dataclasses.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The type stub of msgspec accepts any field name and any type.
    from dataclasses import replace
else:
    from msgspec.structs import replace

__all__ = ["replace"]
