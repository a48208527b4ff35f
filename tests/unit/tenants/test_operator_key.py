"""The text of operator keys: its form, its checksum, and keys that are not accepted."""

import pytest

from synckairos.tenants.operator_key import make_operator_key, parse_operator_key


def test_key_has_its_form_and_names_its_id() -> None:
    text = make_operator_key()
    product, key_id, secret = text.split("_")
    assert (product, len(key_id), len(secret)) == ("synckairos", 12, 49)
    assert (text.isascii(), secret.isalnum()) == (True, True)
    key = parse_operator_key(text)
    assert key is not None
    assert (key.key_id, len(key.digest)) == (key_id, 32)


def test_keys_and_their_digests_differ() -> None:
    texts = {make_operator_key() for _ in range(100)}
    keys = [parse_operator_key(each) for each in texts]
    assert (
        len(texts) == len({each.key_id for each in keys if each}) == len({each.digest for each in keys if each}) == 100
    )


@pytest.mark.parametrize("at", [11, 30, -1, -7])
def test_key_with_another_character_is_refused(at: int) -> None:
    text = make_operator_key()
    other = "A" if text[at] != "A" else "B"
    changed = text[:at] + other + (text[at + 1 :] if at != -1 else "")
    assert len(changed) == len(text)
    assert parse_operator_key(changed) is None


@pytest.mark.parametrize(
    "text",
    ["", "synckairos_", "synckairos_a_b", "a.b.c", "é"],
    ids=["empty", "prefix", "short", "jwt", "other"],
)
def test_text_of_another_form_is_refused(text: str) -> None:
    assert parse_operator_key(text) is None
    assert parse_operator_key(make_operator_key() + text + "\n") is None
