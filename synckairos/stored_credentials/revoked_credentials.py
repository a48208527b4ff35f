"""Ends of the stored credentials that a revocation selects, and of the API keys and links below them.

The control channel does not know which credential made which other credential. So a revocation alone ends only the
credentials that it selects. The credentials below them end when revocations of them are announced too.
"""

from contextlib import suppress

from synckairos.errors import StoreUnavailable, TooManyRevocations
from synckairos.revocations.channel import ControlChannel
from synckairos.stored_credentials.table import CredentialTable
from synckairos.wire.control_entry import Revocation


async def end_revoked_credentials(table: CredentialTable, channel: ControlChannel, revocation: Revocation) -> None:
    """End the stored credentials that a new revocation selects, and announce the ends of those below them.

    If this is not possible now, a worker does it later, when it copies the revocation.
    """
    if revocation.group is not None or revocation.token_id is not None:
        return  # stored credentials have no group, and nothing is below a token
    with suppress(StoreUnavailable, TooManyRevocations):
        await channel.append(*await table.end_revoked([revocation]))
