"""Parts of a document: joined parts are the same document, and changed parts contain every difference."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from synckairos.wire.document_merge_patch import make_keyed_patch, parse_keyed_document
from synckairos.wire.document_split import DocumentParts, changed_parts
from synckairos.wire.session_json import render_session
from tests.unit.clock.histories import Bytes
from tests.unit.wire.large_sessions import random_large_history


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(st.binary(min_size=120, max_size=120))
def test_parts_join_to_the_document_and_changed_parts_give_the_same_patch(tape: bytes) -> None:
    documents = [render_session(transition.state) for transition in random_large_history(Bytes(tape))]
    for document in documents:
        assert DocumentParts.parse(document).join() == document
    for before, after in pairwise(documents):
        old, new = (each.join() for each in changed_parts(DocumentParts.parse(before), DocumentParts.parse(after)))
        assert make_keyed_patch(parse_keyed_document(old), parse_keyed_document(new)) == make_keyed_patch(
            parse_keyed_document(before), parse_keyed_document(after)
        )
        assert len(new) <= len(after)
