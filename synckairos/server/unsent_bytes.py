"""Number of bytes that a connection has written and its client has not acknowledged."""

import asyncio
import fcntl
import struct
import sys
import termios


def count_unsent_bytes(transport: asyncio.Transport) -> int:
    """Return the number of written bytes of a transport that the client has not acknowledged.

    The number includes the bytes in this process and, on Linux, the bytes in the kernel.
    """
    in_process: int = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return in_process
    try:
        in_kernel: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
    except (OSError, ValueError):
        return in_process
    return in_process + in_kernel
