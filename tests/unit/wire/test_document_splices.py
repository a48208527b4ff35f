"""Document splices in Python. The test vectors also test the commit script in Redis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.wire.document_splices import apply_message_body, find_splices
from tests.vectors import SpliceVector, splice_vectors


@pytest.mark.parametrize("vector", splice_vectors())
def test_a_body_leads_from_the_document_before_to_the_document_after(vector: SpliceVector) -> None:
    assert apply_message_body(vector.before, vector.body) == vector.after


@pytest.mark.parametrize("vector", splice_vectors())
def test_a_reverse_body_leads_from_the_document_after_to_the_document_before(vector: SpliceVector) -> None:
    assert apply_message_body(vector.after, vector.back) == vector.before


@pytest.mark.parametrize("vector", splice_vectors("refused"))
def test_splices_for_a_document_of_another_length_are_refused(vector: SpliceVector) -> None:
    with pytest.raises(ValueError, match="are for a document of"):
        apply_message_body(vector.before, vector.body)


def test_a_document_as_body_replaces_the_document() -> None:
    assert apply_message_body(b"anything", b'{"version":2}') == b'{"version":2}'


@given(*[st.lists(st.sampled_from([b"", b"a", b"ab", b"b", b'"x":1', b'"x":12']), max_size=8).map(b",".join)] * 2)
def test_found_splices_lead_from_one_text_to_another(before: bytes, after: bytes) -> None:
    assert apply_message_body(before, find_splices(before, after)) == after


def test_found_splices_have_only_the_end_of_a_changed_value() -> None:
    before, after = b'{"version":1,"at":"2026-11-30T10:00:00.000Z"}', b'{"version":2,"at":"2026-11-30T10:00:01.000Z"}'
    assert find_splices(before, after) == b'45 11 1 1 37 8 8\n21.000Z"}'
