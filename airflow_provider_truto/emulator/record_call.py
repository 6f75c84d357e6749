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

from airflow_provider_truto.emulator.bodies import read_object, required_text
from airflow_provider_truto.emulator.call import Answer, Call, Execution, json_answer
from airflow_provider_truto.emulator.crm import Native
from airflow_provider_truto.emulator.crossing import account_of, check_usable, cross
from airflow_provider_truto.emulator.errors import RefusedError
from airflow_provider_truto.emulator.filters import filtered
from airflow_provider_truto.emulator.logs import api_entry
from airflow_provider_truto.emulator.methods import CustomMethod
from airflow_provider_truto.emulator.pages import Page
from airflow_provider_truto.emulator.resource import READING, Resource
from airflow_provider_truto.emulator.state import State

_DEFAULT_LIMIT = 25
_COLLECTION_METHODS = {"GET": "list", "POST": "create", "PATCH": "update", "DELETE": "delete"}
_RECORD_METHODS = {"GET": "get", "PATCH": "update", "DELETE": "delete"}


class RecordCall(ABC):
    """One call to a resource; `segment` is what follows it in the path, a record's id or the name of a method.

    To make one is Truto's half: what Truto refuses is refused here, and was never executed. `execute` is the
    CRM's. Raises RefusedError.
    """

    kind: ClassVar[str]
    """`unified` or `proxy`, as the log calls it."""

    def __init__(self, state: State, call: Call, *, resource: Resource, segment: str = "") -> None:
        self._state = state
        self._call = call
        self._resource = resource
        self._custom: CustomMethod | None = None
        self._method = self._read_method(segment)
        self._account = account_of(state, call)
        check_usable(self._account, reads=self._method in READING)
        self._integration = self._account.integration
        if resource.key not in self._integration.resources:
            raise RefusedError(404, f"{self._integration.name} has no {self._name}")
        self._record_id = "" if self._custom else segment
        id_is_missing = self._method in ("update", "delete") and not segment
        if id_is_missing and not self._integration.id_in_body:
            raise RefusedError(405, f"{call.method} is not allowed here")
        self._read_options()
        if self._method == "list":
            self._page = Page.asked(call, default_limit=_DEFAULT_LIMIT)
        if self._custom or id_is_missing or self._method in ("create", "update"):
            body = read_object(call)
            if id_is_missing:
                self._record_id = required_text(body, "id")
            self._body = self._checked(body)
        self._crm = state.crm(self._account, resource)

    def execute(self) -> Answer:
        """The CRM's answer, its errors included. Whatever it is, the call is logged as executed."""
        execution = Execution(
            call=self._call,
            record_id=self._record_id or None,
            remote_query=self._remote_query(),
            time=monotonic(),
        )
        insightful = self.kind == "unified"
        answer = cross(self._state, self._account, execution, lambda: self._run(execution), insightful=insightful)
        self._state.logs.append(
            api_entry(
                self._account,
                self._call,
                request_type=self.kind,
                resource=self._name,
                method=self._method,
                status=answer.status,
                seconds=monotonic() - execution.time,
            )
        )
        return answer

    @property
    @abstractmethod
    def _name(self) -> str:
        """What the resource is called on this route."""

    @abstractmethod
    def _methods(self) -> Mapping[str, CustomMethod]:
        """The methods beside the usual ones."""

    @abstractmethod
    def _read_options(self) -> None:
        """Read what only this route has in its query."""

    @abstractmethod
    def _checked(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body for the CRM, after Truto's own checks."""

    @abstractmethod
    def _remote_query(self) -> Any:
        """What of the query string reaches the CRM."""

    @abstractmethod
    def _filter_names(self) -> Mapping[str, str]:
        """The fields by which lists can be filtered, and what the CRM calls them."""

    @abstractmethod
    def _page_answer(self, natives: Sequence[Native], *, next_cursor: str | None) -> Answer: ...

    @abstractmethod
    def _one_answer(self, native: Native) -> Answer: ...

    @abstractmethod
    def _deleted_answer(self, record_id: str) -> Answer: ...

    def _read_method(self, segment: str) -> str:
        verb = self._call.method
        if segment and verb == "POST":
            self._custom = self._methods().get(segment)
            if self._custom is None:
                raise RefusedError(404, f"There is no method {segment} on {self._name}")
            return segment
        method = (_RECORD_METHODS if segment else _COLLECTION_METHODS).get(verb, "")
        if method not in self._resource.methods:
            raise RefusedError(405, f"{verb} is not allowed here")
        return method

    def _run(self, execution: Execution) -> Answer:
        if self._method == "list":
            natives, next_cursor = self._page.of(self._found())
            return self._page_answer(natives, next_cursor=next_cursor)
        if self._method == "delete":
            self._crm.delete(self._record_id)
            return self._deleted_answer(self._record_id)
        native = self._touched()
        execution.record_id = native["id"]
        return self._one_answer(native)

    def _found(self) -> list[Native]:
        names = self._filter_names()

        def value_of(native: Native, name: str) -> Any:
            return native["id"] if name == "id" else native["properties"].get(names[name])

        return filtered(self._crm.all(), self._call.query, names=names, value_of=value_of)

    def _touched(self) -> Native:
        """The one record that the call is about, after the call."""
        if self._custom:
            return self._custom.run(self._crm, self._body)
        if self._method == "create":
            return self._crm.create(self._body)
        if self._method == "update":
            return self._crm.update(self._record_id, self._body)
        return self._crm.get(self._record_id)


def list_envelope(items: Any, *, count: int, next_cursor: str | None) -> Answer:
    """A page of a unified or a proxy list."""
    envelope = {
        "result": items,
        "next_cursor": next_cursor,
        "prev_cursor": None,
        "result_count": count,
        "is_partial_response": False,
    }
    return json_answer(200, envelope, executed=True)
