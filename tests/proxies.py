"""nginx, Caddy, HAProxy and Traefik in front of servers, each with a recipe of `deploy/`.

A test replaces only the addresses in a recipe. To remove the sub-path, the test activates the commented line that the
recipe has for this purpose.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import httpx

from synckairos.embedded.guarded_child import ChildProcess
from tests.deployment_environment import PROGRAMS as PROGRAMS_OF_DEPLOYMENT
from tests.ports import free_port
from tests.waiting import eventually

DEPLOY = Path(__file__).parents[1] / "deploy"
SUB_PATH = "/clock"
UPSTREAM = "127.0.0.1:3000"

Form = Literal["root", "passed", "removed"]
"""How a proxy serves: at the root, under a sub-path that it passes on, or under a sub-path that it removes."""


@dataclass(frozen=True, slots=True)
class Program:
    """How to run a proxy. `whole` makes a complete configuration from a recipe. `removal` removes the sub-path."""

    recipe: str
    sub_path_recipe: str
    listen: str
    removal: str
    idle_time: str
    """The setting that closes idle connections to the server."""
    run: tuple[str, ...]
    check: tuple[str, ...] = ()
    """The command that checks a configuration. Traefik has none: it logs faults when it starts."""
    whole: str = "{recipe}"
    static_recipe: str = ""
    """The file with the address of Traefik. Its routes are in `recipe`."""
    health_interval: str = ""
    """The setting of the interval of health checks, if they are HTTP/1.1 requests."""
    stop_signal: signal.Signals = signal.SIGTERM


PROGRAMS = {
    "nginx": Program(
        "nginx/synckairos.conf",
        "nginx/synckairos-sub-path.conf",
        "listen 80;",
        "rewrite ^/clock/?(.*)$ /$1 break;",
        "keepalive_timeout 60s;",
        ("nginx", "-e", "stderr", "-p", "{folder}", "-c", "{config}"),
        ("nginx", "-t", "-e", "stderr", "-p", "{folder}", "-c", "{config}"),
        "daemon off; pid nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off; client_body_temp_path body;"
        " proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n{recipe}\n}}\n",
    ),
    "caddy": Program(
        "caddy/Caddyfile",
        "caddy/Caddyfile.sub-path",
        ":80 {",
        "uri strip_prefix /clock",
        "keepalive 60s",
        ("caddy", "run", "--adapter", "caddyfile", "--config", "{config}"),
        ("caddy", "validate", "--adapter", "caddyfile", "--config", "{config}"),
        stop_signal=signal.SIGQUIT,  # after SIGTERM Caddy waits for idle clients
    ),
    "haproxy": Program(
        "haproxy/haproxy.cfg",
        "haproxy/haproxy-sub-path.cfg",
        "bind :80",
        "http-request replace-path ^/clock/?(.*)$ /\\1",
        "pool-purge-delay 5s",
        ("haproxy", "-db", "-f", "{config}"),
        ("haproxy", "-c", "-f", "{config}"),
    ),
    "traefik": Program(
        "traefik/synckairos.yml",
        "traefik/synckairos-sub-path.yml",
        'address: ":80"',
        "- synckairos-without-sub-path",
        "idleConnTimeout: 60s",
        ("traefik", "--configFile={folder}/static.yml"),
        static_recipe="traefik/traefik.yml",
        health_interval="interval: 400ms",
    ),
}

FORMS: tuple[Form, ...] = ("root", "passed", "removed")


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """A configuration file of a proxy, and the address of the proxy."""

    name: str
    form: Form
    folder: Path
    port: int

    @classmethod
    def write(
        cls, name: str, form: Form, targets: Sequence[str], folder: Path, edits: Mapping[str, str] | None = None
    ) -> "ProxyConfig":
        """Write the configuration into `folder`, for a free port of loopback.

        `targets` are the servers, each `host:port`. `edits` replace more texts of the recipe.
        """
        program, port = PROGRAMS[name], free_port()
        listen = program.listen.replace(":80", f"127.0.0.1:{port}").replace(" 80", f" {port}")
        changes = {program.listen: f"http://{listen}" if name == "caddy" else listen, **(edits or {})}
        if name == "nginx":
            changes["/var/log/nginx/"] = f"{folder}/"
        if name == "caddy":
            changes["localhost:2019"] = f"[::1]:{free_port()}"
        if form == "removed":
            changes[f"#{program.removal}"] = program.removal
        first, *others = targets
        if others:
            assert name == "haproxy"
            server = f"    server instance1 {UPSTREAM}\n"
            more = (f"    server instance{at} {target}\n" for at, target in enumerate(others, 2))
            changes[server] = f"    server instance1 {first}\n{''.join(more)}"
        changes[UPSTREAM] = first
        recipe = (DEPLOY / (program.recipe if form == "root" else program.sub_path_recipe)).read_text()
        config = cls(name, form, folder, port)
        static = ""
        if program.static_recipe:
            static = (DEPLOY / program.static_recipe).read_text()
            changes["filename: /etc/traefik/synckairos.yml"] = f"filename: {config.path}"
        for old, new in changes.items():
            count = recipe.count(old) + static.count(old)
            assert count == 1 or old == UPSTREAM, f"{old!r} is {count} times in the recipe"
            recipe, static = recipe.replace(old, new), static.replace(old, new)
        folder.mkdir(parents=True, exist_ok=True)
        config.path.write_text(program.whole.format(recipe=recipe) if "{{" in program.whole else recipe)
        if static:
            (folder / "static.yml").write_text(static)
        return config

    @property
    def path(self) -> Path:
        """The file with the routes. Traefik reads only files with the ending of their format."""
        return self.folder / ("proxy.yml" if PROGRAMS[self.name].static_recipe else "proxy.conf")

    @property
    def base_url(self) -> str:
        """The public URL of the server, with the sub-path."""
        return f"http://127.0.0.1:{self.port}{'' if self.form == 'root' else SUB_PATH}"

    def command(self, template: tuple[str, ...]) -> list[str]:
        """Return the command line of `template`, with the whole path of the program."""
        program = shutil.which(
            template[0], path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", str(PROGRAMS_OF_DEPLOYMENT)))
        )
        assert program is not None, f"{template[0]} is missing: `make test` installs it"
        return [program, *(each.format(folder=self.folder, config=self.path) for each in template[1:])]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder)}

    def check(self) -> tuple[int, str]:
        """Let the proxy check the configuration. Return the exit code and the output of the check.

        A proxy without a check is started instead, until it answers by a route.
        """
        if not PROGRAMS[self.name].check:
            return self._check_by_start()
        done = subprocess.run(
            self.command(PROGRAMS[self.name].check),
            env=self.environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _check_by_start(self) -> tuple[int, str]:
        command = self.command(PROGRAMS[self.name].run)
        with subprocess.Popen(
            command, env=self.environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process, ThreadPoolExecutor(1) as thread:  # fmt: skip
            try:
                thread.submit(asyncio.run, eventually(partial(_has_route, self.base_url))).result()
            finally:
                process.terminate()
            output, _ = process.communicate()
        return process.returncode, output


async def _has_route(base_url: str) -> bool:
    """Return whether a proxy without a server behind it answers by a route: 503, without a route 404."""
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(f"{base_url}/health")).status_code == 503
        except httpx.TransportError:
            return False


@contextmanager
def run_proxies(*configs: ProxyConfig) -> Iterator[None]:
    """Run proxies until the end of the block. Enter the block when each proxy has answered a request."""
    children: list[ChildProcess] = []
    try:
        for config in configs:
            program = PROGRAMS[config.name]
            argv, stop_signal = config.command(program.run), program.stop_signal
            children.append(ChildProcess(argv, env=config.environment, cwd=config.folder, stop_signal=stop_signal))
        # In a thread, because this one may have a running event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _wait_for_answers(configs, children)).result()
        yield
    finally:
        for child in children:
            child.stop()


async def _wait_for_answers(configs: Sequence[ProxyConfig], children: Sequence[ChildProcess]) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:

        async def is_up(config: ProxyConfig, child: ChildProcess) -> bool:
            assert child.returncode is None, f"{config.name} ended"
            try:
                return (await client.get(f"{config.base_url}/health")).status_code == 200
            except httpx.TransportError:
                return False

        for config, child in zip(configs, children, strict=True):
            await eventually(partial(is_up, config, child))
