"""Ports for programs that need their port before they start."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

FIRST_PORT, LAST_PORT = 10_000, 32_000
"""Range of the ports. It is below the range from which the kernel takes the ports of outgoing connections."""

_LOCKS = Path(tempfile.gettempdir()) / "synckairos-test-ports"
"""Folder with one locked file for each reserved port."""

_reserved: list[int] = []
"""File descriptors of the locked files. The locks end with this process."""


def free_port() -> int:
    """Return a port of loopback that no program uses now.

    The port is random. Until the end of this process, no other call of this function returns it, also in other test
    runs on this machine.
    """
    while True:
        port = random.randrange(FIRST_PORT, LAST_PORT)
        if _is_unused(port) and _reserve(port):
            return port


def _is_unused(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _reserve(port: int) -> bool:
    """Lock the file of a port. Return False if another process or an earlier call has locked it."""
    _LOCKS.mkdir(exist_ok=True)
    descriptor = os.open(_LOCKS / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _reserved.append(descriptor)
    return True
