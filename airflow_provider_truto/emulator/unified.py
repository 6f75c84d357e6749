"""The unified routes under `/unified/{model}/{resource}`: records in the words of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_truto.emulator import mapping
from airflow_provider_truto.emulator.bodies import require
from airflow_provider_truto.emulator.call import Answer, Call, json_answer, json_bytes
from airflow_provider_truto.emulator.crm import Native
from airflow_provider_truto.emulator.errors import RefusedError
from airflow_provider_truto.emulator.methods import CustomMethod, unified_methods
from airflow_provider_truto.emulator.record_call import RecordCall, list_envelope
from airflow_provider_truto.emulator.resource import Resource
from airflow_provider_truto.emulator.resources import RESOURCES
from airflow_provider_truto.emulator.state import State

_FORMATS = ("unified", "raw", "normalized", "stream")
_PROVIDER_JSON = ("content-type", "application/json;charset=utf-8")
_CHUNK = 1024


def unified(state: State, call: Call, *, model: str, name: str, segment: str = "") -> Answer:
    """`/unified/{model}/{name}` and, with what follows, `/unified/{model}/{name}/{segment}`."""
    return UnifiedCall(state, call, resource=find_resource(f"{model}/{name}"), segment=segment).execute()


def find_resource(key: str) -> Resource:
    """The unified resource of this key, else a 404 of Truto."""
    try:
        return RESOURCES[key]
    except KeyError:
        raise RefusedError(404, f"There is no unified resource {key}") from None


class UnifiedCall(RecordCall):
    """One unified call. A method of `methods` answers with the record under `result`, undocumented as it is."""

    kind = "unified"

    @property
    def _name(self) -> str:
        return self._resource.key

    def _methods(self) -> Mapping[str, CustomMethod]:
        return unified_methods(self._resource)

    def _read_options(self) -> None:
        self._format = self._call.query.get("truto_response_format", "unified")
        if self._format not in _FORMATS:
            raise RefusedError(400, f"truto_response_format must be one of {', '.join(_FORMATS)}")

    def _checked(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._custom:
            require(body, self._custom.properties)
            return body
        require(body, self._integration.required_for(self._method, self._resource))
        return mapping.to_provider(body, resource=self._resource, integration=self._integration)

    def _remote_query(self) -> Any:
        return self._call.query.get("remote_query", {})

    def _filter_names(self) -> Mapping[str, str]:
        return {"id": "id", **{field.name: field.native for field in self._integration.mapped(self._resource)}}

    def _page_answer(self, natives: Sequence[Native], *, next_cursor: str | None) -> Answer:
        if self._format == "stream":
            return _streamed(natives)
        items = [self._shown(native) for native in natives]
        key = self._call.query.get("truto_key_by")
        keyed = {str(item[key]): item for item in items if key in item} if isinstance(key, str) else items
        return list_envelope(keyed, count=len(items), next_cursor=next_cursor)

    def _one_answer(self, native: Native) -> Answer:
        """One record in the form that the call asks for."""
        if self._format == "stream":
            return _streamed(native)
        shown = self._shown(native)
        return json_answer(200, {"result": shown} if self._custom else shown, executed=True)

    def _deleted_answer(self, record_id: str) -> Answer:
        return json_answer(200, {"id": record_id}, executed=True)

    def _shown(self, native: Native) -> dict[str, Any]:
        if self._format == "raw":
            return native
        normal = self._crm.normalized(native) if self._format == "normalized" else native
        shown = mapping.to_unified(normal, resource=self._resource, integration=self._integration)
        if self._call.query.get("truto_ignore_remote_data") != "true":
            shown["remote_data"] = native
        for name in _texts(self._call.query.get("truto_exclude_fields")):
            shown.pop(name, None)
        return shown


def _texts(value: Any) -> list[str]:
    """A list parameter in every form in which a query can hold it; a long indexed one reads as an object."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _streamed(native: Any) -> Answer:
    return Answer(200, json_bytes(native), (_PROVIDER_JSON,), executed=True, chunk_size=_CHUNK)
