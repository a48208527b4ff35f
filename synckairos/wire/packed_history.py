"""Packed messages of the version history: feed messages compressed with the document of their version.

    packed message = zlib stream (RFC 1950) of a header and a reverse body, with the document as preset dictionary

Header and reverse body are those of an unpacked message (`feed_message.py`). The reverse body is the whole document of
the version before. It differs from the dictionary in few bytes, so a switch of two participants takes about 170 bytes
instead of 1,400. A reader of the history goes from new to old versions, so it always has the dictionary.

The zlib stream contains the Adler-32 checksum of its dictionary. A reader therefore recognizes the document to which a
packed message belongs. The first byte of an unpacked message is `{`, which no zlib stream begins with.
"""

import zlib

MAX_DOCUMENT_BYTES = 32_000
"""Bytes: maximum size of a document that is used as dictionary. zlib finds matches at most 32 KiB back."""

MAX_UNPACKED_BYTES = 1 << 20
"""Bytes: maximum size of an unpacked message. Messages of larger documents are not packed."""

_LEVEL = 3
_SMALL_WINDOW_BITS, _LARGE_WINDOW_BITS = 12, zlib.MAX_WBITS
_SMALL_WINDOW_BYTES = (1 << _SMALL_WINDOW_BITS) - 262  # zlib does not use the last bytes of its window
_SMALL_MEMORY_LEVEL = 5  # zlib clears less memory, which is most of the cost for a small document
_DICTIONARY_ID = slice(2, 6)


def is_packed(message: bytes) -> bool:
    """Return whether a message of the version history is packed."""
    return not message.startswith(b"{")


def pack_message(header: bytes, document_before: bytes, document: bytes) -> bytes:
    """Return the packed message of a version whose document is `document`.

    `header` ends with a line feed. `document_before` is empty for the first version of a session. `document` must have
    at most `MAX_DOCUMENT_BYTES`.
    """
    if len(header) + len(document) <= _SMALL_WINDOW_BYTES:
        window_bits, memory_level = _SMALL_WINDOW_BITS, _SMALL_MEMORY_LEVEL
    else:
        window_bits, memory_level = _LARGE_WINDOW_BITS, zlib.DEF_MEM_LEVEL
    # A fixed code takes less time than a code for this message, and a few bytes more.
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, window_bits, memory_level, zlib.Z_FIXED, document)
    return stream.compress(header + document_before) + stream.flush()


def find_dictionary_id(document: bytes) -> bytes:
    """Return the bytes by which packed messages name a document: its Adler-32 checksum."""
    return zlib.adler32(document).to_bytes(4, "big")


def dictionary_id_of(packed: bytes) -> bytes:
    """Return the checksum of the document with which a message was packed."""
    return packed[_DICTIONARY_ID]


def unpack_message(packed: bytes, document: bytes) -> bytes:
    """Return the header and the reverse body of a packed message. `document` is the document of its version.

    Raises: ValueError if the bytes are not a packed message of this document.
    """
    stream = zlib.decompressobj(zdict=document)
    try:
        message = stream.decompress(packed, MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise ValueError(f"The message cannot be unpacked: {error}") from error
    if not stream.eof:
        raise ValueError("The packed message is incomplete or too large")
    return message
