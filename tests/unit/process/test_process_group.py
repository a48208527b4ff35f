"""The counters of the members of a group that have ended."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from synckairos.process.process_group import ProcessGroup, keep_counters_of_ended
from synckairos.telemetry.merged_metrics import merge_metrics

REQUESTS = "synckairos_http_requests_total"


def write_last_scrape(directory: Path, pid: int, requests: int) -> None:
    (directory / f"{pid}.socket").touch()
    (directory / f"{pid}.last").write_text(
        f"# TYPE {REQUESTS} counter\n{REQUESTS} {requests}\n# TYPE synckairos_websocket_connections gauge\n"
        "synckairos_websocket_connections 9\n"
    )


def sample(text: bytes, name: str) -> float | None:
    samples = [each for family in text_string_to_metric_families(text.decode()) for each in family.samples]
    return next((each.value for each in samples if each.name == name and not each.labels), None)


def test_counters_of_many_ended_members_are_kept_in_one_file(tmp_path: Path) -> None:
    for pid in range(1, 6):
        write_last_scrape(tmp_path, pid, pid)
        keep_counters_of_ended(tmp_path, pid)
    keep_counters_of_ended(tmp_path, 6)  # no scrape reached it
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ended", "lock"]
    ended = (tmp_path / "ended").read_bytes()
    assert sample(ended, REQUESTS) == 15
    assert sample(ended, "synckairos_websocket_connections") is None
    assert merge_metrics(ended, [], []) == ended


async def test_scrape_has_the_counters_of_ended_and_silent_members_once(tmp_path: Path) -> None:
    write_last_scrape(tmp_path, 1, 4)
    keep_counters_of_ended(tmp_path, 1)
    write_last_scrape(tmp_path, 2, 3)  # it runs, but no process listens at its socket
    group = ProcessGroup(tmp_path, "server")
    async with group.join():
        for _ in range(2):
            assert sample(await group.render_metrics(), REQUESTS) == 7
        keep_counters_of_ended(tmp_path, 2)
        assert sample(await group.render_metrics(), REQUESTS) == 7
