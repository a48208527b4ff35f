"""Text of stored credentials."""

import re
from hashlib import sha256
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from synckairos.identity.secret_text import (
    PATTERN,
    is_stored_credential,
    make_secret_text,
    parse_secret_text,
)

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_secret_has_the_form_that_scanners_find() -> None:
    secret = make_secret_text()
    assert re.search(PATTERN, f"KEY={secret.text}\n") is not None
    prefix, credential_id, rest = secret.text.split("_")
    assert (prefix, credential_id, len(rest)) == ("synckairos", secret.credential_id, 43 + 6)
    assert secret.digest == sha256(secret.text.encode()).digest()
    assert parse_secret_text(secret.text) == secret
    assert is_stored_credential(secret.text)


def test_last_six_characters_are_the_crc32_in_base62() -> None:
    text = make_secret_text().text
    value = 0
    for character in text[-6:]:
        value = value * 62 + DIGITS.index(character)
    assert value == crc32(text[:-6].encode())


def test_new_secret_of_a_credential_keeps_its_id() -> None:
    first = make_secret_text()
    second = make_secret_text(first.credential_id)
    assert second.credential_id == first.credential_id
    assert second.text != first.text


@given(st.data())
def test_each_wrong_character_is_refused(data: st.DataObject) -> None:
    text = make_secret_text().text
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(DIGITS).filter(lambda each: each != text[place]))
    assert parse_secret_text(text[:place] + other + text[place + 1 :]) is None


@given(st.text())
def test_each_text_is_parsed_or_refused(text: str) -> None:
    assert parse_secret_text(text) is None
    assert parse_secret_text(f"synckairos_{text}") is None
    assert parse_secret_text(make_secret_text().text + text + "\n") is None


def test_digest_of_a_link_is_that_of_no_token() -> None:
    secret = make_secret_text()
    assert secret.redemption_digest != secret.digest
    assert len(secret.redemption_digest) == 32
    assert secret.redemption_digest != make_secret_text(secret.credential_id).redemption_digest
