"""All modules of the package, for tests that need everything that any module defines."""

import importlib
import importlib.util
import pkgutil

import synckairos

_OPTIONAL = {"synckairos.telemetry.span_recorder": "opentelemetry"}
"""Modules that need the package of an optional extra. The environment of the tests has all extras."""


def import_all_modules() -> None:
    """Import each module of the package, except the program itself and modules whose extra is not installed."""
    for module in pkgutil.walk_packages(synckairos.__path__, "synckairos."):
        needed = _OPTIONAL.get(module.name)
        if module.name.endswith("__main__") or (needed is not None and importlib.util.find_spec(needed) is None):
            continue
        importlib.import_module(module.name)
