"""The unified routes under `/unified/{model}/{resource}`: records in the words of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_truto.emulator.http.bodies import require_names
from airflow_provider_truto.emulator.http.errors import RefusedError
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, encode_json, json_response
from airflow_provider_truto.emulator.routes import mapping
from airflow_provider_truto.emulator.routes.record_request import RecordRequest, build_list_response
from airflow_provider_truto.emulator.state.methods import CustomMethod, find_unified_methods
from airflow_provider_truto.emulator.state.records import Native
from airflow_provider_truto.emulator.state.resource import Resource
from airflow_provider_truto.emulator.state.resources import RESOURCES
from airflow_provider_truto.emulator.state.state import State

_FORMATS = ("unified", "raw", "normalized", "stream")
_PROVIDER_JSON = ("content-type", "application/json;charset=utf-8")
_CHUNK = 1024


def handle_unified(state: State, request: Request, *, model: str, name: str, segment: str = "") -> Response:
    """`/unified/{model}/{name}` and, with what follows, `/unified/{model}/{name}/{segment}`."""
    return UnifiedRequest(state, request, resource=find_resource(f"{model}/{name}"), segment=segment).execute()


def find_resource(key: str) -> Resource:
    """Return the unified resource of this key, else a 404 of Truto."""
    try:
        return RESOURCES[key]
    except KeyError:
        raise RefusedError(404, f"There is no unified resource {key}") from None


class UnifiedRequest(RecordRequest):
    """One unified call. A method of `methods` answers with the record under `result`, undocumented as it is."""

    kind = "unified"

    @property
    def _name(self) -> str:
        return self._resource.key

    def _methods(self) -> Mapping[str, CustomMethod]:
        return find_unified_methods(self._resource)

    def _read_options(self) -> None:
        self._format = self._request.query.get("truto_response_format", "unified")
        if self._format not in _FORMATS:
            raise RefusedError(400, f"truto_response_format must be one of {', '.join(_FORMATS)}")

    def _check_body(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._custom:
            require_names(body, self._custom.properties)
            return body
        require_names(body, self._integration.list_required_for(self._method, self._resource))
        return mapping.to_provider(body, resource=self._resource, integration=self._integration)

    def _remote_query(self) -> Any:
        return self._request.query.get("remote_query", {})

    def _filter_names(self) -> Mapping[str, str]:
        return {"id": "id", **{field.name: field.native for field in self._integration.filterable(self._resource)}}

    def _build_page(self, natives: Sequence[Native], *, next_cursor: str | None) -> Response:
        if self._format == "stream":
            return _stream(natives)
        items = [self._show(native) for native in natives]
        key = self._request.query.get("truto_key_by")
        keyed = {str(item[key]): item for item in items if key in item} if isinstance(key, str) else items
        return build_list_response(keyed, count=len(items), next_cursor=next_cursor)

    def _build_one(self, native: Native) -> Response:
        """Return one record in the form that the call asks for."""
        if self._format == "stream":
            return _stream(native)
        shown = self._show(native)
        return json_response(200, {"result": shown} if self._custom else shown, executed=True)

    def _build_deleted(self, record_id: str) -> Response:
        return json_response(200, {"id": record_id}, executed=True)

    def _show(self, native: Native) -> dict[str, Any]:
        if self._format == "raw":
            return native
        normal = self._crm.normalize(native) if self._format == "normalized" else native
        shown = mapping.to_unified(normal, resource=self._resource, integration=self._integration)
        if self._request.query.get("truto_ignore_remote_data") != "true":
            shown["remote_data"] = native
        for name in _read_texts(self._request.query.get("truto_exclude_fields")):
            shown.pop(name, None)
        return shown


def _read_texts(value: Any) -> list[str]:
    """Return a list parameter in every form in which a query can hold it; a long indexed one reads as an object."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _stream(native: Any) -> Response:
    return Response(200, encode_json(native), (_PROVIDER_JSON,), executed=True, chunk_size=_CHUNK)
