"""REST routes of presets. The presets are part of the release, so the routes use no store and need no credential."""

from functools import cache

import orjson

from synckairos.errors import NotFound
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.presets.catalogue import load_presets, unknown_preset_text
from synckairos.wire.preset_models import PresetAnswer, PresetList

CACHE_HEADERS = [(b"cache-control", b"public, max-age=300")]
"""Headers of an answer. A page can keep it for five minutes: the presets change only with the release."""


class PresetRoutes:
    """REST operations that list and read presets."""

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        return [
            Operation(
                "GET", "/v1/presets", "read_presets", self.list_presets, "List the presets", "presets",
                response_model=PresetList, is_rate_limited=False,
            ),
            Operation(
                "GET", "/v1/presets/{category}/{name}", "read_presets", self.read_preset,
                "Read a preset with its session", "presets",
                response_model=PresetAnswer, refusal_statuses=(404,), is_rate_limited=False,
            ),
        ]  # fmt: skip

    async def list_presets(self, _: RestRequest) -> RestResponse:
        """Answer `GET /v1/presets`: all presets without their sessions, sorted by name."""
        return RestResponse(_rendered_list(), headers=list(CACHE_HEADERS))

    async def read_preset(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/presets/{category}/{name}`: one preset with its session."""
        name = "{category}/{name}".format_map(request.path_parameters)
        preset = load_presets().get(name)
        if preset is None:
            raise NotFound(unknown_preset_text(name))
        return RestResponse(orjson.dumps({"data": preset.as_json()}), headers=list(CACHE_HEADERS))


@cache
def _rendered_list() -> bytes:
    return orjson.dumps({"data": [each.summary() for each in load_presets().values()]})
