"""Documents of consecutive event rows, built from their splices."""

import pytest

from synckairos.audit.row_documents import RowDocuments

WHOLE, CHANGE, OTHER = b'{"a":1}', b"7 5 1 1\n2", b"7 5 1 2\n34"


def test_each_change_leads_on_from_the_row_before() -> None:
    documents = RowDocuments()
    assert documents.build_document(WHOLE, None, None) == WHOLE
    assert documents.build_document(CHANGE, 1, None) == b'{"a":2}'
    assert documents.build_document(OTHER, 1, None) == b'{"a":34}'
    assert documents.build_document(WHOLE, None, None) == WHOLE


def test_bodies_replace_the_row_before() -> None:
    documents = RowDocuments()
    documents.build_document(b'{"other":1}', None, None)
    assert documents.build_document(OTHER, 1, [WHOLE, CHANGE]) == b'{"a":34}'
    assert documents.build_document(b"8 5 2 1\n5", 1, None) == b'{"a":5}'


@pytest.mark.parametrize(
    ("before", "snapshot", "bodies"),
    [
        (None, CHANGE, None),
        (WHOLE, CHANGE, []),
        (b'{"a":12}', CHANGE, None),
        (WHOLE, CHANGE, [b'{"a":12}']),
        (WHOLE, CHANGE, [WHOLE, OTHER]),
        (WHOLE, b"7 5 1\n2", None),
    ],
    ids=["no row", "no bodies", "other document", "other body", "a body too many", "malformed"],
)
def test_a_document_that_cannot_be_built_is_refused_and_so_are_those_that_need_it(
    before: bytes | None, snapshot: bytes, bodies: list[bytes] | None
) -> None:
    documents = RowDocuments()
    if before is not None:
        documents.build_document(before, None, None)
    with pytest.raises(ValueError, match=r"missing|document of|argument"):
        documents.build_document(snapshot, 1, bodies)
    with pytest.raises(ValueError, match="missing"):
        documents.build_document(CHANGE, 1, None)
    assert documents.build_document(CHANGE, 1, [WHOLE]) == b'{"a":2}'
