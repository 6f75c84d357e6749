"""One call about records in its two halves, Truto's and the CRM's; unified and proxy calls fill it in.

GET     …/{resource}           list     a page
POST    …/{resource}           create
GET     …/{resource}/{id}      get
PATCH   …/{resource}/{id}      update   also …/{resource} with the id in the body, where the integration has that
DELETE  …/{resource}/{id}      delete   the same
POST    …/{resource}/{method}  a method of `methods`
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, ClassVar

from airflow_provider_truto.emulator.http.bodies import read_object, read_text
from airflow_provider_truto.emulator.http.errors import RefusedError
from airflow_provider_truto.emulator.http.filters import filter_items
from airflow_provider_truto.emulator.http.pages import Page
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, json_response
from airflow_provider_truto.emulator.routes.access import call_crm, check_usable, find_request_account
from airflow_provider_truto.emulator.state.executions import Execution
from airflow_provider_truto.emulator.state.logs import build_api_entry
from airflow_provider_truto.emulator.state.methods import CustomMethod
from airflow_provider_truto.emulator.state.records import Native
from airflow_provider_truto.emulator.state.resource import READING, Resource
from airflow_provider_truto.emulator.state.state import State

_DEFAULT_LIMIT = 25
_COLLECTION_METHODS = {"GET": "list", "POST": "create", "PATCH": "update", "DELETE": "delete"}
_RECORD_METHODS = {"GET": "get", "PATCH": "update", "DELETE": "delete"}


class RecordRequest(ABC):
    """One call to a resource; `segment` is what follows it in the path, a record's id or the name of a method.

    To make one is Truto's half: what Truto refuses is refused here, and was never executed. `execute` is the
    CRM's. Raises RefusedError.
    """

    kind: ClassVar[str]
    """`unified` or `proxy`, as the log calls it."""

    def __init__(self, state: State, request: Request, *, resource: Resource, segment: str = "") -> None:
        self._state = state
        self._request = request
        self._resource = resource
        self._custom: CustomMethod | None = None
        self._method = self._read_method(segment)
        self._account = find_request_account(state, request)
        check_usable(self._account, reads=self._method in READING)
        self._integration = self._account.integration
        if resource.key not in self._integration.resources:
            raise RefusedError(404, f"{self._integration.name} has no {self._name}")
        self._record_id = "" if self._custom else segment
        id_is_missing = self._method in ("update", "delete") and not segment
        if id_is_missing and not self._integration.id_in_body:
            raise RefusedError(405, f"{request.method} is not allowed here")
        self._read_options()
        if self._method == "list":
            self._page = Page.from_request(request, default_limit=_DEFAULT_LIMIT)
        if self._custom or id_is_missing or self._method in ("create", "update"):
            body = read_object(request)
            if id_is_missing:
                self._record_id = read_text(body, "id")
            self._body = self._check_body(body)
        self._crm = state.crm(self._account, resource)

    def execute(self) -> Response:
        """Return the CRM's answer, its errors included. Whatever it is, the call is logged as executed."""
        execution = Execution(
            request=self._request,
            record_id=self._record_id or None,
            remote_query=self._remote_query(),
            time=monotonic(),
        )
        insightful = self.kind == "unified"
        response = call_crm(
            self._state, self._account, execution, lambda: self._run(execution), insightful=insightful
        )
        self._state.logs.append(
            build_api_entry(
                self._account,
                self._request,
                request_type=self.kind,
                resource=self._name,
                method=self._method,
                status=response.status,
                seconds=monotonic() - execution.time,
            )
        )
        return response

    @property
    @abstractmethod
    def _name(self) -> str:
        """What the resource is called on this route."""

    @abstractmethod
    def _methods(self) -> Mapping[str, CustomMethod]:
        """Return the methods beside the usual ones."""

    @abstractmethod
    def _read_options(self) -> None:
        """Read what only this route has in its query."""

    @abstractmethod
    def _check_body(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body for the CRM, after Truto's own checks."""

    @abstractmethod
    def _remote_query(self) -> Any:
        """Return what of the query string reaches the CRM."""

    @abstractmethod
    def _filter_names(self) -> Mapping[str, str]:
        """Return the fields by which lists can be filtered, and what the CRM calls them."""

    @abstractmethod
    def _build_page(self, natives: Sequence[Native], *, next_cursor: str | None) -> Response: ...

    @abstractmethod
    def _build_one(self, native: Native) -> Response: ...

    @abstractmethod
    def _build_deleted(self, record_id: str) -> Response: ...

    def _read_method(self, segment: str) -> str:
        verb = self._request.method
        if segment and verb == "POST":
            self._custom = self._methods().get(segment)
            if self._custom is None:
                raise RefusedError(404, f"There is no method {segment} on {self._name}")
            return segment
        method = (_RECORD_METHODS if segment else _COLLECTION_METHODS).get(verb, "")
        if method not in self._resource.methods:
            raise RefusedError(405, f"{verb} is not allowed here")
        return method

    def _run(self, execution: Execution) -> Response:
        if self._method == "list":
            natives, next_cursor = self._page.slice_items(self._find_records())
            return self._build_page(natives, next_cursor=next_cursor)
        if self._method == "delete":
            self._crm.delete(self._record_id)
            return self._build_deleted(self._record_id)
        native = self._run_on_record()
        execution.record_id = native["id"]
        return self._build_one(native)

    def _find_records(self) -> list[Native]:
        names = self._filter_names()

        def value_of(native: Native, name: str) -> Any:
            return native["id"] if name == "id" else native["properties"].get(names[name])

        return filter_items(self._crm.list_all(), self._request.query, names=names, value_of=value_of)

    def _run_on_record(self) -> Native:
        """Return the one record that the call is about, after the call."""
        if self._custom:
            return self._custom.run(self._crm, self._body)
        if self._method == "create":
            return self._crm.create(self._body)
        if self._method == "update":
            return self._crm.update(self._record_id, self._body)
        return self._crm.get(self._record_id)


def build_list_response(items: Any, *, count: int, next_cursor: str | None) -> Response:
    """Return a page of a unified or a proxy list."""
    envelope = {
        "result": items,
        "next_cursor": next_cursor,
        "prev_cursor": None,
        "result_count": count,
        "is_partial_response": False,
    }
    return json_response(200, envelope, executed=True)
