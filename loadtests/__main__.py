"""Command line of the load tests: `python -m loadtests NAME [options]` runs the module NAME of this package.

With `--priority` before NAME, the test and all its processes have priority over other work on the machine (needs root).
"""

import importlib
import resource
import sys
from pathlib import Path

from loadtests.priority import keep_priority


def main() -> None:
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if "\ndef main(" in path.read_text())
    has_priority = sys.argv[1:2] == ["--priority"]
    if has_priority:
        del sys.argv[1]
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    names.remove("__main__")
    if name not in names:
        sys.exit(f"usage: python -m loadtests [--priority] NAME [options]\nNAME is one of {', '.join(names)}")
    # Some load tests hold thousands of sockets, more than the usual soft limit allows.
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    if has_priority:
        keep_priority()
    sys.argv[:2] = [f"python -m loadtests {name}"]
    importlib.import_module(f"loadtests.{name}").main()


if __name__ == "__main__":
    main()
