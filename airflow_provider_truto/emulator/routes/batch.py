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
resources; where one of them failed, it is not executed and fails as well. That is this emulator's own, and so is the
400 for a name that is not there, for a circle, and for `loop_on` and `recurse`, which are not emulated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from airflow_provider_truto.emulator.http.bodies import read_object, read_text, require_names
from airflow_provider_truto.emulator.http.errors import RefusedError, allow_methods, build_envelope
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, encode_json, json_response
from airflow_provider_truto.emulator.routes.access import check_usable, find_account
from airflow_provider_truto.emulator.routes.proxy import handle_proxy
from airflow_provider_truto.emulator.routes.unified import handle_unified
from airflow_provider_truto.emulator.state.state import State

_VERBS = {"list": "GET", "get": "GET", "create": "POST", "update": "PATCH", "delete": "DELETE"}
_FORMATS = ("raw", "unified", "normalized")
_NOT_EMULATED = ("loop_on", "recurse")


def handle_batch(state: State, request: Request) -> Response:
    """Run all calls of a batch, one after the other."""
    allow_methods(request, "POST")
    body = read_object(request)
    require_names(body, ["integrated_account_id", "resources"])
    account_id = read_text(body, "integrated_account_id")
    check_usable(find_account(state, account_id), reads=True)
    if not isinstance(body["resources"], list) or not body["resources"]:
        raise RefusedError(400, "resources must be a list that is not empty")
    items = [_Item.read(given) for given in body["resources"]]
    result: dict[str, list[Any]] = {}
    errors: dict[str, list[Any]] = {item.key: [] for item in items}
    for item in _sort_items(items):
        broken = any(errors[other.key] for other in items if item.waits_for(other))
        found, error = (
            ([], build_envelope(424, "A call that this one depends on has failed"))
            if broken
            else _run_item(state, request, item, account_id=account_id)
        )
        if item.persist:
            result.setdefault(item.key, []).extend(found)
        errors[item.key] += [error] if error else []
    return json_response(200, {"result": result, "errors": errors}, executed=True)


@dataclass(frozen=True)
class _Item:
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
    def read(cls, given: Any) -> _Item:
        """Return the call that an object asks for. Refuses nonsense with 400."""
        if not isinstance(given, dict):
            raise RefusedError(400, "each of resources must be an object")
        for name in _NOT_EMULATED:
            if given.get(name):
                raise RefusedError(400, f"{name} is not emulated")
        given = {name: value for name, value in given.items() if value is not None}
        resource, query = read_text(given, "resource"), given.get("query", {})
        depends_on, form = given.get("depends_on", []), given.get("response_format")
        if isinstance(depends_on, str):
            depends_on = [depends_on]
        if not isinstance(query, dict) or not isinstance(depends_on, list):
            raise RefusedError(400, "query must be an object, and depends_on a text or a list")
        if form not in (None, *_FORMATS):
            raise RefusedError(400, f"response_format must be one of {', '.join(_FORMATS)}")
        return cls(
            resource=resource,
            method=read_text(given, "method"),
            record_id=str(given.get("id") or ""),
            key=str(given.get("name") or resource),
            depends_on=tuple(map(str, depends_on)),
            persist=bool(given.get("persist", "/" in resource)),
            query={**query, **({"truto_response_format": form} if form else {})},
            body=given.get("body", {}),
        )

    def waits_for(self, other: _Item) -> bool:
        """Whether it depends on another one, by that one's name or by its resource."""
        return other is not self and bool({other.key, other.resource} & set(self.depends_on))


def _sort_items(items: list[_Item]) -> Iterator[_Item]:
    """Return the items in their own order, but none before those on which it depends."""
    for item in items:
        for name in item.depends_on:
            if not any(name in (other.key, other.resource) for other in items if other is not item):
                raise RefusedError(400, f"{item.key} depends on {name}, which is not in this batch")
    ordered: list[_Item] = []
    left = list(items)
    while left:
        free = [item for item in left if not any(map(item.waits_for, left))]
        if not free:
            raise RefusedError(400, f"{left[0].key} depends on itself")
        ordered.append(free[0])
        left.remove(free[0])
    return iter(ordered)


def _run_item(state: State, outer: Request, item: _Item, *, account_id: str) -> tuple[list[Any], Any]:
    """Return the objects that one call gave, and its error."""
    if item.method == "get" and not item.record_id:
        return [], build_envelope(400, "get needs an id")
    found: list[Any] = []
    query = {**_to_text(item.query), "integrated_account_id": account_id}
    while True:
        response = _handle(state, _build_request(outer, item, query=query))
        body = json.loads(response.body[:])
        if response.status >= 400:
            return found, body
        if item.method != "list":
            return [body], None
        page = body["result"]
        found += page.values() if isinstance(page, dict) else page
        if not body["next_cursor"]:
            return found, None
        query = {**query, "next_cursor": body["next_cursor"]}


def _handle(state: State, request: Request) -> Response:
    try:
        match request.path:
            case ("unified", model, name, *rest):
                return handle_unified(state, request, model=model, name=name, segment="".join(rest))
            case ("proxy", name, *rest):
                return handle_proxy(state, request, name=name, segment="".join(rest))
    except RefusedError as refused:
        return refused.to_response()
    raise AssertionError(request.path)


def _build_request(outer: Request, item: _Item, *, query: dict[str, Any]) -> Request:
    is_usual = item.method in _VERBS
    segment = item.record_id if is_usual else item.method
    has_segment = segment and item.method not in ("list", "create")
    model_and_name = item.resource.split("/", 1)
    path = (
        "unified" if len(model_and_name) == 2 else "proxy",
        *model_and_name,
        *([segment] if has_segment else []),
    )
    return Request(
        method=_VERBS.get(item.method, "POST"),
        target="/" + "/".join(path),
        path=path,
        pairs=[],
        query=query,
        headers={},
        token=outer.token,
        body=encode_json(item.body),
        time=monotonic(),
        connection=outer.connection,
    )


def _to_text(value: Any) -> Any:
    """Return a JSON value as a query string would have brought it; null is as good as absent."""
    if isinstance(value, dict):
        return {name: _to_text(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_to_text(inner) for inner in value]
    return str(value).lower() if isinstance(value, bool) else str(value)
