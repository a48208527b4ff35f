"""Document splices in Python. The test vectors also test the commit script in Redis."""

import pytest

from synckairos.wire.document_splices import apply_message_body
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
