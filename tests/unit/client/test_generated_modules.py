"""The generated modules of the Python client are those that the server's modules give, and equal them in behaviour."""

import inspect

import msgspec
import pytest

import synckairos.clock.model as server_model
import synckairos_client.generated.clock.model as client_model
from shared_modules import TARGET, NotShareable, copy_of, render_shared_modules
from tests.unit.test_import_rules import imported_by

PACKAGE = TARGET.parent

ALLOWED = {
    "asyncio", "bisect", "collections", "contextlib", "dataclasses", "datetime", "enum", "functools", "http",
    "io", "itertools", "math", "operator", "orjson", "random", "re", "socket", "ssl", "synckairos_client", "threading",
    "time", "typing", "urllib", "uuid", "websockets",
}  # fmt: skip


def test_generated_files_are_what_the_server_gives() -> None:
    written = {
        path.relative_to(TARGET).as_posix(): path.read_text() for path in TARGET.rglob("*") if path.suffix == ".py"
    }
    rendered = render_shared_modules()
    # The modules of REST need a running server, see tests/integration/client/test_rest.py.
    known = rendered.keys() | {"rest_api.py", "rest_types.py", "sync_rest_api.py"}
    stale = [path for path in written.keys() | known if written.get(path) != rendered.get(path, written.get(path))]
    assert written.keys() <= known
    assert stale == [], "run `make python-client`"


def test_client_imports_only_its_dependencies() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 20
    excess = {path.name: {name.split(".")[0] for name in imported_by(path)} - ALLOWED for path in modules}
    assert {name: names for name, names in excess.items() if names} == {}


def test_values_of_the_client_have_the_fields_and_defaults_of_the_server() -> None:
    classes = [each for _, each in inspect.getmembers(server_model, inspect.isclass)]
    structs = [each for each in classes if issubclass(each, msgspec.Struct) and each is not msgspec.Struct]
    assert len(structs) > 10
    for struct in structs:
        copied = getattr(client_model, struct.__name__)
        assert list(inspect.signature(copied).parameters) == list(inspect.signature(struct).parameters)


@pytest.mark.parametrize(
    "source",
    [
        "import msgspec\n",
        "from msgspec import UNSET\n",
        "import redis\n",
        "from msgspec import Struct\n\n\nclass A(Struct, frozen=True, kw_only=True):\n    a: int\n",
    ],
)
def test_module_that_needs_another_package_is_not_shareable(source: str) -> None:
    with pytest.raises(NotShareable):
        copy_of(source, "synckairos.clock.example")
