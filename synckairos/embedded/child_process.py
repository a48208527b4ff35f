"""Child processes that never outlive this one, however it ends.

Each gets a guard, a small shell that waits on a pipe: when this process is gone, by `kill -9` too, the pipe closes and
the guard ends the child. (Linux's parent-death signal would do less: it follows the thread, and a change of user drops
it.) Children live in sessions of their own, so Ctrl-C reaches only us and we decide the order of the end.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# Given a line, the guard is no longer needed; at end of file it asks the child to end, and after ten seconds makes it.
_GUARD = """
trap '' HUP INT TERM
read -r _ && exit
kill -"$1" "$2" || exit
for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1; kill -0 "$2" || exit; done
kill -KILL "$2"
"""


class ChildProcess:
    """One guarded child process.

    `farewell` is the signal that asks it to end. `account` is the (uid, gid) it runs as, where that isn't ours.
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
        farewell: signal.Signals = signal.SIGTERM,
        pass_fds: Sequence[int] = (),
    ) -> None:
        uid, gid = account or (None, None)
        self._farewell = farewell
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
        reading, self._pipe = os.pipe()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(int(farewell)), str(self.pid)],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(reading)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self.process.poll()

    def stop(self, timeout_s: float = 8.0) -> int:
        """Ask it to end, make it after `timeout_s`, and return its exit code. Safe to call again."""
        if self.returncode is None:
            self.process.send_signal(self._farewell)
            self.process.send_signal(signal.SIGCONT)  # a frozen one must thaw to hear
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self._reap()

    def kill(self) -> int:
        """End it at once with SIGKILL, as a crash would."""
        self.process.kill()
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait()
        if self._pipe >= 0:
            # In this order: the guard must not take the end of the file for the end of us.
            os.write(self._pipe, b"\n")
            os.close(self._pipe)
            self._pipe = -1
            self._guard.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code
