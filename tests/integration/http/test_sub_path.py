"""REST under a sub-path: each path works with and without the sub-path. All paths in responses have the sub-path."""

import re
from collections.abc import AsyncIterator, Iterable
from urllib.parse import urljoin

import httpx
import pytest

from synckairos.config import OWN_SEGMENTS, Settings
from synckairos.http import assembly
from synckairos.http.operations import Operation, OperationTable
from synckairos.http.page_files import page_folder
from synckairos.http.qr_code import QR_CODE_PATH
from synckairos.realtime.endpoint import PATH
from tests.integration.rest_server import HOST, RestServer, chess_body, open_rest_server

ROOT = "/clock"


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    changed = {"root_path": ROOT, "webhook_allowed_networks": ["127.0.0.0/8"], "webhook_allow_http": True}
    async with open_rest_server(settings.model_copy(update=changed)) as opened:
        yield opened


both_forms = pytest.mark.parametrize("form", ["", ROOT])
"""The beginning of the paths that the server receives: the proxy removes the sub-path, or it passes the sub-path on."""


@both_forms
async def test_locations_and_links_of_responses_have_the_sub_path(client: httpx.AsyncClient, form: str) -> None:
    made = [await client.post(f"{form}/v1/sessions", json=chess_body()) for _ in range(3)]
    for answer in made:
        assert answer.headers["location"] == f"{ROOT}/v1/sessions/{answer.json()['data']['session_id']}"
        assert (await client.get(answer.headers["location"])).json() == answer.json()
    endpoint = await client.post(f"{form}/v1/webhooks", json={"url": "http://127.0.0.1:1/"})
    assert endpoint.headers["location"] == f"{ROOT}/v1/webhooks/{endpoint.json()['data']['webhook_id']}"
    session = made[0].json()["data"]
    await client.post(f"{form}/v1/sessions/{session['session_id']}/start")
    for path in ("sessions", f"sessions/{session['session_id']}/events"):
        page = await client.get(f"{form}/v1/{path}?limit=1")
        link = re.fullmatch(r'<([^>]+)>; rel="next"', page.headers["link"])
        assert link is not None
        assert link[1].startswith(f"{ROOT}/v1/{path}?limit=1&cursor=")
        assert (await client.get(link[1])).status_code == 200


@both_forms
async def test_repeated_command_is_replayed_under_either_form_of_its_path(client: httpx.AsyncClient, form: str) -> None:
    session_id = (await client.post(f"{form}/v1/sessions", json=chess_body())).json()["data"]["session_id"]
    answers = [
        await client.post(f"{each}/v1/sessions/{session_id}/start", headers={"Idempotency-Key": "k"})
        for each in (form, "", ROOT)
    ]
    assert {(each.status_code, each.content) for each in answers} == {(200, answers[0].content)}
    assert [each.headers.get("idempotency-replayed") for each in answers] == [None, "true", "true"]


@both_forms
async def test_descriptions_name_the_sub_path(client: httpx.AsyncClient, form: str) -> None:
    for path in ("openapi.json", "api-docs.json"):
        assert (await client.get(f"{form}/{path}")).json()["servers"] == [{"url": ROOT}]
    (sockets,) = (await client.get(f"{form}/asyncapi.json")).json()["servers"].values()
    assert sockets["pathname"] == ROOT


@both_forms
@pytest.mark.parametrize(
    "path",
    [
        *("/", "/docs", "/docs/", "/docs/api", "/docs/guides/chess", "/api-docs"),
        *("/demo", "/demo/", "/demo/index.html", "/demo/play", "/playground", "/console"),
        *("/view", "/view/", "/view/design", "/view/0198c0de-0000-7000-8000-00000000000a"),
        *(
            f"/{name}{end}"
            for name in ("control", "desk", "agenda")
            for end in ("", "/0198c0de-0000-7000-8000-00000000000a")
        ),
    ],
)
async def test_every_link_of_a_page_has_the_sub_path_and_leads_to_a_file(
    client: httpx.AsyncClient, form: str, path: str
) -> None:
    page = await client.get(form + path)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    links = [each for each in re.findall(r'(?:href|src)="([^"]*)"', page.text) if not each.startswith("#")]
    assert len(links) >= 4
    for link in links:
        assert link.startswith(f"{ROOT}/"), link
        assert (await client.get(urljoin(HOST + path, link))).status_code == 200, link


async def test_scripts_and_styles_name_no_absolute_path_of_this_server(client: httpx.AsyncClient) -> None:
    names: list[str] = []
    for folder in (assembly.DOCUMENTATION, *assembly.OTHER_PAGES, *assembly.SESSION_PAGES):
        names += [f"{folder}/{each.name}" for each in page_folder(folder).iterdir() if each.suffix in (".js", ".css")]
    assert len(names) > 15
    own = "|".join(re.escape(each) for each in sorted(OWN_SEGMENTS))
    for name in names:
        text = (await client.get(f"{ROOT}/{name}")).raise_for_status().text
        code = re.sub(r"(?m)^\s*(//|/?\*).*$", "", text)
        assert not re.search(rf"""["'`(]/({own})\b""", code), name


async def test_own_segments_are_the_first_segments_of_all_paths(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[str] = []

    class Recorded(OperationTable):
        def __init__(self, operations: Iterable[Operation]) -> None:
            listed = list(operations)
            paths.extend(each.path for each in listed)
            super().__init__(listed)

    monkeypatch.setattr(assembly, "OperationTable", Recorded)
    async with open_rest_server(settings):
        paths += [
            *(f"/{name}" for name in (assembly.DOCUMENTATION, *assembly.OTHER_PAGES, *assembly.SESSION_PAGES)),
            PATH,
        ]
        assert {each.split("/")[1] for each in paths} - {""} == OWN_SEGMENTS


async def test_unchanged_demo_page_is_not_sent_again(client: httpx.AsyncClient) -> None:
    page = await client.get(f"{ROOT}/demo")
    for tag in (page.headers["etag"], f"W/{page.headers['etag']}", "*"):
        again = await client.get(f"{ROOT}/demo", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
    assert (await client.get(f"{ROOT}/demo", headers={"If-None-Match": '"other"'})).content == page.content
    assert (await client.head(f"{ROOT}/demo")).content == b""


@both_forms
async def test_probes_and_metrics_answer_with_and_without_the_sub_path(client: httpx.AsyncClient, form: str) -> None:
    for path in ("/health", "/ready", "/metrics"):
        assert (await client.get(form + path)).status_code == 200
    counted = 'synckairos_http_requests_total{method="GET",route="/ready",status_code="200"}'
    assert counted in (await client.get(f"{form}/metrics")).text


@both_forms
async def test_problems_name_the_public_path(client: httpx.AsyncClient, form: str) -> None:
    for path in ("/nope", "/demo/nope.js", "/v1/nope"):
        refused = await client.get(form + path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "NOT_FOUND")
        assert refused.json()["detail"].startswith(f"There is nothing at {ROOT}{path}")


@both_forms
async def test_qr_code_is_drawn_for_the_demo_page_under_the_sub_path(client: httpx.AsyncClient, form: str) -> None:
    async def draw(link: str) -> int:
        return (await client.get(form + QR_CODE_PATH, params={"link": link})).status_code

    for link in (f"{HOST}{ROOT}/demo", f"{HOST}{ROOT}/demo?session=x&board=black", f"{HOST}/demo"):
        assert await draw(link) == 200, link
    for link in (
        f"{HOST}/clocks/demo", f"{HOST}{ROOT}{ROOT}/demo", f"{HOST}/x{ROOT}/demo", f"{HOST}{ROOT}demo",
        f"http://evil.example{ROOT}/demo", f"{HOST}{ROOT}/demos", f"{HOST}{ROOT}/v1/sessions",
    ):  # fmt: skip
        assert await draw(link) == 400, link
