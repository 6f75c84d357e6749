"""The proxy routes under `/proxy/{resource}`: records as their CRM has them.

A resource has its native name, in which case matters. A list comes in the envelope of all lists, and whatever else a
call answers is the CRM's own body: the record, and `{"id": "…", "deleted": true}` for a delete. A body holds what it
changes under `properties`. Of the query, what Truto does not keep for itself goes to the CRM; it filters by its own
names, as in `updatedAt[gt]=…`, and ignores the rest. Errors of the CRM have no `truto_error_insight`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_truto.emulator.http.errors import RefusedError
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, json_response
from airflow_provider_truto.emulator.routes.record_request import RecordRequest, build_list_response
from airflow_provider_truto.emulator.state.methods import CustomMethod, find_native_methods
from airflow_provider_truto.emulator.state.records import Native
from airflow_provider_truto.emulator.state.resources import NATIVE_RESOURCES
from airflow_provider_truto.emulator.state.state import State

_KEPT_BY_TRUTO = ("integrated_account_id", "limit", "next_cursor")


def handle_proxy(state: State, request: Request, *, name: str, segment: str = "") -> Response:
    """`/proxy/{name}` and, with what follows, `/proxy/{name}/{segment}`."""
    if name not in NATIVE_RESOURCES:
        raise RefusedError(404, f"There is no proxy resource {name}")
    return ProxyRequest(state, request, resource=NATIVE_RESOURCES[name], segment=segment).execute()


class ProxyRequest(RecordRequest):
    """One proxy call."""

    kind = "proxy"

    @property
    def _name(self) -> str:
        return self._resource.native

    def _methods(self) -> Mapping[str, CustomMethod]:
        return find_native_methods(self._resource)

    def _read_options(self) -> None:
        pass

    def _check_body(self, body: dict[str, Any]) -> dict[str, Any]:
        return body

    def _remote_query(self) -> Any:
        query = self._request.query.items()
        return {name: value for name, value in query if name not in _KEPT_BY_TRUTO and not name.startswith("truto_")}

    def _filter_names(self) -> Mapping[str, str]:
        ignored = self._integration.ignores_filters
        return {
            "id": "id",
            **{field.native: field.native for field in self._resource.fields if field.name not in ignored},
        }

    def _build_page(self, natives: Sequence[Native], *, next_cursor: str | None) -> Response:
        return build_list_response(natives, count=len(natives), next_cursor=next_cursor)

    def _build_one(self, native: Native) -> Response:
        return json_response(200, native, executed=True)

    def _build_deleted(self, record_id: str) -> Response:
        return json_response(200, {"id": record_id, "deleted": True}, executed=True)
