"""Child processes that never outlive this process, even if this process is killed.

Each child has a guard: a small shell that reads from a pipe. When this process ends, even by `kill -9`, the pipe closes
and the guard stops the child. (Linux's parent-death signal is weaker: it depends on the thread, and a change of the
user clears it.) Each child leads its own process session, so Ctrl-C reaches only this process, which stops its children
in order.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# The guard ends when it reads a line. At the end of its input it sends the stop signal to the child, and SIGKILL ten
# seconds later.
_GUARD = """
trap '' HUP INT TERM
read -r _ && exit
kill -"$1" "$2" || exit
for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1; kill -0 "$2" || exit; done
kill -KILL "$2"
"""


class ChildProcess:
    """One child process with a guard. The constructor starts both.

    `stop_signal` is the signal at which the program stops cleanly. `account` is the (uid, gid) under which the child
    runs; None uses the user and group of this process.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        account: tuple[int, int] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        pass_fds: Sequence[int] = (),
    ) -> None:
        uid, gid = account or (None, None)
        self._stop_signal = stop_signal
        self.process = subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=None if account is None else [],
            pass_fds=pass_fds,
        )
        guard_input, self._guard_pipe = os.pipe()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(int(stop_signal)), str(self.pid)],
            stdin=guard_input,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(guard_input)

    @property
    def pid(self) -> int:
        """Return the process id of the child."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Return the exit code, negative if a signal ended the process. None if the process runs."""
        return self.process.poll()

    def stop(self, timeout_s: float = 8.0) -> int:
        """Send the stop signal, wait until the process ends, and return its exit code.

        If the process does not end within `timeout_s` seconds, kill it with SIGKILL. If the process has already ended,
        only return its exit code.
        """
        if self.returncode is None:
            self.process.send_signal(self._stop_signal)
            self.process.send_signal(signal.SIGCONT)  # a suspended process handles signals only after it continues
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self._reap()

    def kill(self) -> int:
        """Kill the process with SIGKILL, as a crash would end it. Wait for its end, and return its exit code."""
        self.process.kill()
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait()
        if self._guard_pipe >= 0:
            # The line is written before the pipe is closed. Without the line, the guard would treat the close as the
            # end of this process.
            os.write(self._guard_pipe, b"\n")
            os.close(self._guard_pipe)
            self._guard_pipe = -1
            self._guard.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code
