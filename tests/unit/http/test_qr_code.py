"""QR codes: the drawn modules decode to the link."""

import pytest

from synckairos.http.qr_code import BORDER, MAX_LINK_BYTES, render_qr_code
from tests.qr_decoder import decode, parse_svg

LINK = "http://192.168.178.20:3000/demo?session=01890a5d-ac96-774b-bcce-b302099a8057&board=black"


@pytest.mark.parametrize("link", [LINK, *(LINK[:29] + "x" * (bytes_ - 29) for bytes_ in range(29, 181, 7))])
def test_code_of_a_link_decodes_to_the_link(link: str) -> None:
    assert decode(parse_svg(render_qr_code(link).decode(), BORDER)) == link


def test_code_of_the_longest_link_has_53_modules() -> None:
    modules = parse_svg(render_qr_code("x" * MAX_LINK_BYTES).decode(), BORDER)
    assert len(modules) == 53


def test_a_code_with_a_changed_module_is_not_accepted_by_the_decoder() -> None:
    modules = parse_svg(render_qr_code(LINK).decode(), BORDER)
    modules[20][20] = not modules[20][20]
    with pytest.raises(AssertionError, match="check bytes"):
        decode(modules)
