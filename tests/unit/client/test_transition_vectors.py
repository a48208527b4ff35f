"""The shared vectors of predicted commands are what the engine makes. The tests of clients/js use them."""

from tests.unit.client.transition_vectors import FILE, render


def test_file_of_transition_vectors_is_what_the_engine_makes() -> None:
    assert FILE.read_bytes() == render(), "stale: python -m tests.unit.client.transition_vectors"
