"""The proxy routes under `/proxy/{resource}`: records as their CRM has them.

A resource has its native name, in which case matters. A list comes in the envelope of all lists, and whatever else a
call answers is the CRM's own body: the record, and `{"id": "…", "deleted": true}` for a delete. A body holds what it
changes under `properties`. Of the query, what Truto does not keep for itself goes to the CRM; it filters by its own
names, as in `updatedAt[gt]=…`, and ignores the rest. Errors of the CRM have no `truto_error_insight`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_truto.emulator.call import Answer, Call, json_answer
from airflow_provider_truto.emulator.crm import Native
from airflow_provider_truto.emulator.errors import RefusedError
from airflow_provider_truto.emulator.methods import CustomMethod, native_methods
from airflow_provider_truto.emulator.record_call import RecordCall, list_envelope
from airflow_provider_truto.emulator.resources import NATIVE_RESOURCES
from airflow_provider_truto.emulator.state import State

_KEPT_BY_TRUTO = ("integrated_account_id", "limit", "next_cursor")


def proxy(state: State, call: Call, *, name: str, segment: str = "") -> Answer:
    """`/proxy/{name}` and, with what follows, `/proxy/{name}/{segment}`."""
    if name not in NATIVE_RESOURCES:
        raise RefusedError(404, f"There is no proxy resource {name}")
    return ProxyCall(state, call, resource=NATIVE_RESOURCES[name], segment=segment).execute()


class ProxyCall(RecordCall):
    """One proxy call."""

    kind = "proxy"

    @property
    def _name(self) -> str:
        return self._resource.native

    def _methods(self) -> Mapping[str, CustomMethod]:
        return native_methods(self._resource)

    def _read_options(self) -> None:
        pass

    def _checked(self, body: dict[str, Any]) -> dict[str, Any]:
        return body

    def _remote_query(self) -> Any:
        query = self._call.query.items()
        return {name: value for name, value in query if name not in _KEPT_BY_TRUTO and not name.startswith("truto_")}

    def _filter_names(self) -> Mapping[str, str]:
        return {"id": "id", **{field.native: field.native for field in self._resource.fields}}

    def _page_answer(self, natives: Sequence[Native], *, next_cursor: str | None) -> Answer:
        return list_envelope(natives, count=len(natives), next_cursor=next_cursor)

    def _one_answer(self, native: Native) -> Answer:
        return json_answer(200, native, executed=True)

    def _deleted_answer(self, record_id: str) -> Answer:
        return json_answer(200, {"id": record_id, "deleted": True}, executed=True)
