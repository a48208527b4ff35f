"""Write `synckairos_client/generated`: `make python-client`, or `python clients/python/scripts/generate.py [URL]`.

URL is the address of a server, such as http://127.0.0.1:3000. By default a new server with its own stores is started.
"""

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rest_modules import render_rest_modules
from shared_modules import REPOSITORY, TARGET, format_source, render_shared_modules

READY = "SYNCKAIROS_READY "


def render_files(openapi: dict[str, Any]) -> dict[str, str]:
    """Return the text of all generated files by their path below `synckairos_client/generated`."""
    rest = {path: format_source(path, text) for path, text in render_rest_modules(openapi).items()}
    return render_shared_modules() | rest


@contextmanager
def running_server() -> Iterator[str]:
    """Start `synckairos dev` for the block, and yield the address of the server."""
    command = [sys.executable, "-m", "synckairos", "dev", "--port", "0"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready = next(line for line in server.stdout if line.startswith(READY))
            yield json.loads(ready.removeprefix(READY))["http"]
        finally:
            server.terminate()


def read_openapi(url: str) -> dict[str, Any]:
    """Return the OpenAPI description of the server at `url`."""
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        description: dict[str, Any] = json.load(answer)
        return description


def main(*urls: str) -> None:
    """Replace the folder `generated`."""
    if urls:
        openapi = read_openapi(urls[0])
    else:
        with running_server() as url:
            openapi = read_openapi(url)
    files = render_files(openapi)
    shutil.rmtree(TARGET, ignore_errors=True)
    for path, text in files.items():
        (TARGET / path).parent.mkdir(parents=True, exist_ok=True)
        (TARGET / path).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
