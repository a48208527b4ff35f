"""Decoder of QR codes for tests: byte mode, error correction M, versions 1 to 9 (ISO/IEC 18004).

The decoder works on exact modules, so it needs no image processing. It verifies the error correction bytes, but
corrects no errors.
"""

import re
from collections.abc import Iterator

# Number of blocks and of check bytes in each block, by version, at level M.
_BLOCKS = (1, 1, 1, 2, 2, 4, 4, 4, 5)
_CHECK_BYTES = (10, 16, 26, 18, 24, 16, 18, 22, 22)
# Centers of the alignment patterns, by version.
_ALIGNMENT: tuple[tuple[int, ...], ...] = (
    (), (6, 18), (6, 22), (6, 26), (6, 30), (6, 34), (6, 22, 38), (6, 24, 42), (6, 26, 46),
)  # fmt: skip
_LEVEL_M = 0b00
_BYTE_MODE = 0b0100

Modules = list[list[bool]]


def parse_svg(svg: str, border: int) -> Modules:
    """Return the modules of a QR code from an SVG that has one square `M<x> <y>h1v1h-1z` for each dark module.

    The modules are rows of booleans; dark modules are True.
    """
    match = re.search(r'viewBox="0 0 (\d+) \1"', svg)
    assert match is not None
    size = int(match[1]) - 2 * border
    dark = {(int(x) - border, int(y) - border) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", svg)}
    assert all(0 <= x < size and 0 <= y < size for x, y in dark), "the border is light"
    return [[(x, y) in dark for x in range(size)] for y in range(size)]


def decode(modules: Modules) -> str:
    """Return the text of a QR code. Fail if the code breaks a rule of the standard for its data."""
    version = (len(modules) - 17) // 4
    mask = _read_mask(modules)
    bits = [modules[y][x] ^ _is_masked(mask, x, y) for x, y in _data_positions(version)]
    codewords = [_number(bits[at : at + 8]) for at in range(0, len(bits) // 8 * 8, 8)]
    data = _join_blocks(version, codewords)
    stream = [bool(byte >> bit & 1) for byte in data for bit in range(7, -1, -1)]
    assert _number(stream[:4]) == _BYTE_MODE
    length = _number(stream[4:12])
    return bytes(_number(stream[12 + 8 * at : 20 + 8 * at]) for at in range(length)).decode()


def _number(bits: list[bool]) -> int:
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _read_mask(modules: Modules) -> int:
    row = [modules[8][x] for x in (0, 1, 2, 3, 4, 5, 7, 8)]
    column = [modules[y][8] for y in (7, 5, 4, 3, 2, 1, 0)]
    format_bits = _number(row + column) ^ 0b101010000010010
    assert format_bits >> 13 == _LEVEL_M
    return format_bits >> 10 & 0b111


def _is_masked(mask: int, x: int, y: int) -> bool:
    return [
        (x + y) % 2, y % 2, x % 3, (x + y) % 3, (x // 3 + y // 2) % 2, x * y % 2 + x * y % 3,
        (x * y % 2 + x * y % 3) % 2, ((x + y) % 2 + x * y % 3) % 2,
    ][mask] == 0  # fmt: skip


def _data_positions(version: int) -> Iterator[tuple[int, int]]:
    """Yield the positions of data modules in reading order: pairs of columns from the right, up and down in turn."""
    size = 17 + 4 * version
    reserved = _reserved(version, size)
    rows = list(range(size))
    columns = [x for x in range(size - 1, 0, -1) if x != 6][::2]
    for at, right in enumerate(columns):
        for y in reversed(rows) if at % 2 == 0 else rows:
            for x in (right, right - 1):
                if (x, y) not in reserved:
                    yield x, y


def _reserved(version: int, size: int) -> set[tuple[int, int]]:
    """Return the positions of the function patterns and of the format and version information."""
    found = {(6, at) for at in range(size)} | {(at, 6) for at in range(size)}
    corners = ((range(9), range(9)), (range(size - 8, size), range(9)), (range(9), range(size - 8, size)))
    found |= {(x, y) for xs, ys in corners for x in xs for y in ys}
    centers = _ALIGNMENT[version - 1]
    for cx in centers:
        for cy in centers:
            if (cx, cy) not in ((6, 6), (6, size - 7), (size - 7, 6)):
                found |= {(x, y) for x in range(cx - 2, cx + 3) for y in range(cy - 2, cy + 3)}
    if version >= 7:
        found |= {(x, y) for x in range(6) for y in range(size - 11, size - 8)}
        found |= {(x, y) for y in range(6) for x in range(size - 11, size - 8)}
    return found


def _join_blocks(version: int, codewords: list[int]) -> list[int]:
    """Return the data bytes in order. In the QR code the data bytes and check bytes of all blocks are interleaved."""
    count, check = _BLOCKS[version - 1], _CHECK_BYTES[version - 1]
    total = len(codewords) - count * check
    sizes = [total // count + (at >= count - total % count) for at in range(count)]
    blocks: list[list[int]] = [[] for _ in sizes]
    rest = iter(codewords)
    for at in range(max(sizes)):
        for block, size in zip(blocks, sizes, strict=True):
            if at < size:
                block.append(next(rest))
    data = [byte for block in blocks for byte in block]
    for _ in range(check):
        for block in blocks:
            block.append(next(rest))
    assert all(_is_codeword(block, check) for block in blocks), "check bytes belong to the data"
    return data


def _is_codeword(block: list[int], check: int) -> bool:
    """Return whether a block is a multiple of the Reed-Solomon generator: zero at the first `check` powers of 2."""
    root = 1
    for _ in range(check):
        value = 0
        for byte in block:
            value = _multiply(value, root) ^ byte
        if value:
            return False
        root = _multiply(root, 2)
    return True


def _multiply(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product
