"""`POST /batch-request`: several unified and proxy calls for one account in one call.

    {"integrated_account_id": "<uuid>",
     "resources": [{"resource": "crm/accounts", "method": "list", "query": {"limit": 50}},
                   {"resource": "companies", "method": "update", "id": "23423523", "body": {…},
                    "name": "renamed", "depends_on": "crm/accounts", "persist": true}]}

A slash means unified, none means proxy. Methods are named: list, get, create, update, delete, or one of `methods`.
Each call is executed as if it had come by itself, and a list is read to its last page. The answer is a 200 with the
objects and the errors, by `name` or else by resource:

    {"result": {"crm/accounts": [{…}], "renamed": [{…}]}, "errors": {"crm/accounts": [], "renamed": []}}

Proxy results are only in it with `persist`. A call runs after those in its `depends_on`, a text or a list of names or
resources; with one of them failed, it is not executed and fails, too. That is this emulator's own, and so is the 400
for a name that is not there, for a circle, and for `loop_on` and `recurse`, which are not emulated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from airflow_provider_truto.emulator.bodies import read_object, require, required_text
from airflow_provider_truto.emulator.call import Answer, Call, json_answer, json_bytes
from airflow_provider_truto.emulator.crossing import check_usable, find_account
from airflow_provider_truto.emulator.errors import RefusedError, allow, envelope
from airflow_provider_truto.emulator.proxy import proxy
from airflow_provider_truto.emulator.state import State
from airflow_provider_truto.emulator.unified import unified

_VERBS = {"list": "GET", "get": "GET", "create": "POST", "update": "PATCH", "delete": "DELETE"}
_FORMATS = ("raw", "unified", "normalized")
_NOT_EMULATED = ("loop_on", "recurse")


def batch_request(state: State, call: Call) -> Answer:
    """All the calls of a batch, one after the other."""
    allow(call, "POST")
    body = read_object(call)
    require(body, ["integrated_account_id", "resources"])
    account_id = required_text(body, "integrated_account_id")
    check_usable(find_account(state, account_id), reads=True)
    if not isinstance(body["resources"], list) or not body["resources"]:
        raise RefusedError(400, "resources must be a list that is not empty")
    requests = [_Request.read(given) for given in body["resources"]]
    result: dict[str, list[Any]] = {}
    errors: dict[str, list[Any]] = {request.key: [] for request in requests}
    for request in _in_order(requests):
        broken = any(errors[other.key] for other in requests if request.waits_for(other))
        found, error = (
            ([], envelope(424, "A call that this one depends on has failed"))
            if broken
            else _run(state, call, request, account_id=account_id)
        )
        if request.persist:
            result.setdefault(request.key, []).extend(found)
        errors[request.key] += [error] if error else []
    return json_answer(200, {"result": result, "errors": errors}, executed=True)


@dataclass(frozen=True)
class _Request:
    """One call of a batch."""

    resource: str
    method: str
    record_id: str
    key: str
    depends_on: tuple[str, ...]
    persist: bool
    query: dict[str, Any]
    body: Any

    @classmethod
    def read(cls, given: Any) -> _Request:
        """The call that an object asks for. Refuses nonsense with 400."""
        if not isinstance(given, dict):
            raise RefusedError(400, "each of resources must be an object")
        for name in _NOT_EMULATED:
            if given.get(name):
                raise RefusedError(400, f"{name} is not emulated")
        given = {name: value for name, value in given.items() if value is not None}
        resource, query = required_text(given, "resource"), given.get("query", {})
        depends_on, form = given.get("depends_on", []), given.get("response_format")
        if isinstance(depends_on, str):
            depends_on = [depends_on]
        if not isinstance(query, dict) or not isinstance(depends_on, list):
            raise RefusedError(400, "query must be an object, and depends_on a text or a list")
        if form not in (None, *_FORMATS):
            raise RefusedError(400, f"response_format must be one of {', '.join(_FORMATS)}")
        return cls(
            resource=resource,
            method=required_text(given, "method"),
            record_id=str(given.get("id") or ""),
            key=str(given.get("name") or resource),
            depends_on=tuple(map(str, depends_on)),
            persist=bool(given.get("persist", "/" in resource)),
            query={**query, **({"truto_response_format": form} if form else {})},
            body=given.get("body", {}),
        )

    def waits_for(self, other: _Request) -> bool:
        """Whether it depends on another one, by that one's name or by its resource."""
        return other is not self and bool({other.key, other.resource} & set(self.depends_on))


def _in_order(requests: list[_Request]) -> Iterator[_Request]:
    """The requests in their own order, but none before those on which it depends."""
    for request in requests:
        for name in request.depends_on:
            if not any(name in (other.key, other.resource) for other in requests if other is not request):
                raise RefusedError(400, f"{request.key} depends on {name}, which is not in this batch")
    ordered: list[_Request] = []
    left = list(requests)
    while left:
        free = [request for request in left if not any(map(request.waits_for, left))]
        if not free:
            raise RefusedError(400, f"{left[0].key} depends on itself")
        ordered.append(free[0])
        left.remove(free[0])
    return iter(ordered)


def _run(state: State, outer: Call, request: _Request, *, account_id: str) -> tuple[list[Any], Any]:
    """The objects that one call gave, and its error."""
    if request.method == "get" and not request.record_id:
        return [], envelope(400, "get needs an id")
    found: list[Any] = []
    query = {**_as_text(request.query), "integrated_account_id": account_id}
    while True:
        answer = _answer(state, _inner_call(outer, request, query=query))
        body = json.loads(answer.body[:])
        if answer.status >= 400:
            return found, body
        if request.method != "list":
            return [body], None
        page = body["result"]
        found += page.values() if isinstance(page, dict) else page
        if not body["next_cursor"]:
            return found, None
        query = {**query, "next_cursor": body["next_cursor"]}


def _answer(state: State, call: Call) -> Answer:
    try:
        match call.path:
            case ("unified", model, name, *rest):
                return unified(state, call, model=model, name=name, segment="".join(rest))
            case ("proxy", name, *rest):
                return proxy(state, call, name=name, segment="".join(rest))
    except RefusedError as refused:
        return refused.answer()
    raise AssertionError(call.path)


def _inner_call(outer: Call, request: _Request, *, query: dict[str, Any]) -> Call:
    is_usual = request.method in _VERBS
    segment = request.record_id if is_usual else request.method
    has_segment = segment and request.method not in ("list", "create")
    model_and_name = request.resource.split("/", 1)
    path = (
        "unified" if len(model_and_name) == 2 else "proxy",
        *model_and_name,
        *([segment] if has_segment else []),
    )
    return Call(
        method=_VERBS.get(request.method, "POST"),
        target="/" + "/".join(path),
        path=path,
        pairs=[],
        query=query,
        headers={},
        token=outer.token,
        body=json_bytes(request.body),
        time=monotonic(),
        connection=outer.connection,
    )


def _as_text(value: Any) -> Any:
    """A JSON value as a query string would have brought it; null is as good as absent."""
    if isinstance(value, dict):
        return {name: _as_text(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_as_text(inner) for inner in value]
    return str(value).lower() if isinstance(value, bool) else str(value)
