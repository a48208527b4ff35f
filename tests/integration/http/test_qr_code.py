"""The route of QR codes: it draws links to the server's demo page and its views, and refuses all other links."""

from collections.abc import AsyncIterator

import httpx
import pytest

from synckairos.config import Settings
from synckairos.http.qr_code import BORDER, MAX_LINK_BYTES, QR_CODE_PATH
from synckairos.identity.secret_text import make_secret_text
from tests.integration.rest_server import HOST, RestServer, open_rest_server
from tests.qr_decoder import decode, parse_svg

LINK = f"{HOST}/demo?session=01890a5d-ac96-774b-bcce-b302099a8057&board=black"


async def draw(client: httpx.AsyncClient, link: str, **headers: str) -> httpx.Response:
    return await client.get(QR_CODE_PATH, params={"link": link}, headers=headers)


async def test_link_to_the_demo_page_is_drawn_as_svg(client: httpx.AsyncClient) -> None:
    answer = await draw(client, LINK)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert decode(parse_svg(answer.text, BORDER)) == LINK
    assert answer.headers["cache-control"] == "private, max-age=86400"
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("end", ["", "/", "/index.html", "?board=wall"])
async def test_each_address_of_the_demo_page_is_drawn(client: httpx.AsyncClient, end: str) -> None:
    assert (await draw(client, f"{HOST}/demo{end}")).status_code == 200


@pytest.mark.parametrize("page", ["view", "control", "desk", "agenda"])
async def test_link_to_a_page_of_a_session_is_drawn(client: httpx.AsyncClient, page: str) -> None:
    link = f"{HOST}/{page}/01890a5d-ac96-774b-bcce-b302099a8057?theme=dark"
    assert decode(parse_svg((await draw(client, link)).text, BORDER)) == link


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_link_to_the_host_of_the_request_is_drawn_with_either_scheme(
    client: httpx.AsyncClient, scheme: str
) -> None:
    answer = await draw(client, f"{scheme}://192.168.178.20:3000/demo", host="192.168.178.20:3000")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "link",
    [
        "", "demo", "/demo", "//127.0.0.1:3000/demo", "javascript:alert(1)", "ftp://127.0.0.1:3000/demo",
        HOST, f"{HOST}/", f"{HOST}/docs", f"{HOST}/demos", f"{HOST}/v1/sessions", f"{HOST}/demo#session",
        "http://evil.example/demo", "http://127.0.0.1:3000.evil.example/demo", "http://127.0.0.1:4000/demo",
        "http://127.0.0.1:3000@evil.example/demo", "http://user@127.0.0.1:3000/demo",
        "http://127.0.0.1:3000\\@evil.example/demo", "http://evil.example\\127.0.0.1:3000/demo",
        f"{HOST}/demo?a b", f"{HOST}/demo?a\nb", f"{HOST}/demo?é", f" {LINK}",
        LINK + "x" * (MAX_LINK_BYTES + 1 - len(LINK)),
    ],
)  # fmt: skip
async def test_any_other_link_is_refused(client: httpx.AsyncClient, link: str) -> None:
    answer = await draw(client, link)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == ["link"]


async def test_link_to_another_host_than_the_one_of_the_request_is_refused(client: httpx.AsyncClient) -> None:
    assert (await draw(client, LINK, host="localhost:3000")).status_code == 400


async def test_link_to_a_listed_origin_is_drawn(settings: Settings) -> None:
    listed = settings.model_copy(update={"allowed_origins": ["https://clock.example"]})
    async with open_rest_server(listed) as server:
        assert (await draw(server.client, "https://clock.example/demo")).status_code == 200


@pytest.fixture
async def limited(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings.model_copy(update={"rate_limit_general": 3})) as opened:
        yield opened


async def test_codes_count_against_the_general_rate_limit(limited: RestServer) -> None:
    answers = [await draw(limited.client, link) for link in (LINK, "nope", LINK, LINK)]
    assert [answer.status_code for answer in answers] == [200, 400, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]


async def test_link_with_a_secret_is_drawn_only_from_a_body(client: httpx.AsyncClient) -> None:
    link = f"{HOST}/desk/01890a5d-ac96-774b-bcce-b302099a8057#link={make_secret_text().text}"
    assert (await draw(client, link)).status_code == 400
    answer = await client.post(QR_CODE_PATH, json={"link": link})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert decode(parse_svg(answer.text, BORDER)) == link
    assert answer.headers["cache-control"] == "no-store"
    for refused in (link.replace("#link=", "#token="), link.replace(HOST, "http://evil.example"), f"{HOST}/v1/links"):
        assert (await client.post(QR_CODE_PATH, json={"link": refused})).status_code == 400
