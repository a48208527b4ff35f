"""Packed messages of the version history: feed messages compressed with the document of their version.

    packed message = "p" SP epoch SP version SP tag LF stream
    stream         = zlib stream (RFC 1950) of a header and a reverse body, with the document as preset dictionary

Header and reverse body are those of an unpacked message (`feed_message.py`). The reverse body is the whole document of
the version before. It differs from the dictionary in few bytes, so a switch of two participants takes about 200 bytes
instead of 1,400. A reader of the history goes from new to old versions, so it always has the dictionary. Epoch, version
and tag can be read without the dictionary.
"""

import zlib

from synckairos.wire.snapshot import SessionSnapshot

MAX_DOCUMENT_BYTES = 32_000
"""Bytes: maximum size of a document that is used as dictionary. zlib finds matches at most 32 KiB back."""

MAX_UNPACKED_BYTES = 1 << 20
"""Bytes: maximum size of an unpacked message. Messages of larger documents are not packed."""

_SAMPLED_BYTES = 4_096
"""Bytes of a document from which on `is_worth_packing` compares samples. Smaller documents are packed in 50 µs."""

_SAMPLE_BYTES, _SAMPLES, _SEARCH_BYTES = 32, 8, 1_024
_LEVEL = 3
_SMALL_WINDOW_BITS, _LARGE_WINDOW_BITS = 12, zlib.MAX_WBITS
_SMALL_WINDOW_BYTES = (1 << _SMALL_WINDOW_BITS) - 262  # zlib does not use the last bytes of its window
_SMALL_MEMORY_LEVEL = 5  # zlib clears less memory, which is most of the cost for a small document
_OPENING = b"p "  # an unpacked message begins with `{`


def is_packed(message: bytes) -> bool:
    """Return whether a message of the version history is packed."""
    return message.startswith(_OPENING)


def is_worth_packing(document_before: bytes, document: bytes) -> bool:
    """Return whether two consecutive documents probably have most of their bytes in common.

    Otherwise zlib takes a millisecond for a document of `MAX_DOCUMENT_BYTES`, and finds little. Large documents are
    compared by samples: most of them must be near their place in the other document.
    """
    if len(document_before) < _SAMPLED_BYTES:
        return True
    step = (len(document_before) - _SAMPLE_BYTES) // (_SAMPLES - 1)
    found = 0
    for begin in range(0, _SAMPLES * step, step):
        sample = document_before[begin : begin + _SAMPLE_BYTES]
        found += document.find(sample, max(0, begin - _SEARCH_BYTES), begin + _SEARCH_BYTES) >= 0
    return 2 * found >= _SAMPLES


def pack_message(header: bytes, document_before: bytes, snapshot: SessionSnapshot) -> bytes:
    """Return the packed message of the version `snapshot`, whose document must have at most `MAX_DOCUMENT_BYTES`.

    `header` ends with a line feed. `document_before` is empty for the first version of a session.
    """
    document = snapshot.document
    if len(header) + len(document) <= _SMALL_WINDOW_BYTES:
        window_bits, memory_level = _SMALL_WINDOW_BITS, _SMALL_MEMORY_LEVEL
    else:
        window_bits, memory_level = _LARGE_WINDOW_BITS, zlib.DEF_MEM_LEVEL
    # A fixed code takes less time than a code for this message, and a few bytes more.
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, window_bits, memory_level, zlib.Z_FIXED, document)
    position = f"p {snapshot.epoch} {snapshot.version} {snapshot.tag}\n".encode()
    return position + stream.compress(header + document_before) + stream.flush()


def read_position(packed: bytes) -> SessionSnapshot:
    """Return epoch, version and tag of a packed message. The document of the result is empty.

    Raises: ValueError if the bytes are not a packed message.
    """
    line, _, _ = packed.partition(b"\n")
    _, epoch, version, tag = line.decode().split(" ")
    return SessionSnapshot(epoch, int(version), b"", tag)


def unpack_message(packed: bytes, document: bytes) -> bytes:
    """Return the header and the reverse body of a packed message. `document` is the document of its version.

    Raises: ValueError if the bytes are not a packed message of this document.
    """
    stream = zlib.decompressobj(zdict=document)
    try:
        message = stream.decompress(packed.partition(b"\n")[2], MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise ValueError(f"The message cannot be unpacked: {error}") from error
    if not stream.eof:
        raise ValueError("The packed message is incomplete or too large")
    return message
