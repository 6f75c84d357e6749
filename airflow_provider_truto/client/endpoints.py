"""The requests that Truto takes, each built as a value: which verb, which path, what goes where.

Sources: Truto's docs/api-reference and its own reference texts on the unified, proxy, custom and admin APIs.
Arguments that cannot be put into a URL or a body raise ``ValueError`` or ``TypeError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from airflow_provider_truto.client.names import find_other_account, find_other_customer
from airflow_provider_truto.client.request import (
    JSON,
    READ_METHODS,
    Request,
    build_path,
    check_header,
    encode_json,
    encode_query,
    escape_path,
)

#: The five methods that every resource may have, and their verbs; any other name is a custom method's.
VERBS = {"list": "GET", "get": "GET", "create": "POST", "update": "PATCH", "delete": "DELETE"}
#: Seconds for which what an account or an integration can do is taken for unchanged.
CACHE_TTL = 300.0
#: Headers that are the client's own business.
_OWN_HEADERS = frozenset(
    {"authorization", "host", "content-length", "content-type", "idempotency-key"}
    # between neighbours: proxies drop some, libraries act on others
    | {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}
    | {"proxy-authorization", "proxy-connection"}
)
#: They are answered by what stands on the way, a proxy or a load balancer.
_REFUSED_VERBS = frozenset({"CONNECT", "TRACE"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def unified_request(model: str, resource: str, method: str, **given: Any) -> Request:
    """Build a request of ``/unified/{model}/{resource}``; see ``resource_request`` for what may be given."""
    return resource_request(("unified", model, resource), method, **given)


def proxy_request(resource: str, method: str, **given: Any) -> Request:
    """Build a request of ``/proxy/{resource}``, whose body and answer are the CRM's own; see ``resource_request``."""
    return resource_request(("proxy", resource), method, any_content=True, **given)


def resource_request(
    segments: tuple[str, ...],
    method: str,
    *,
    integrated_account_id: str,
    record_id: str | None = None,
    body: Any = None,
    query: Mapping[str, Any] | tuple[tuple[str, str], ...] | None = None,
    idempotency_key: str | Callable[[str], str | None] | None = None,
    streamed: bool = False,
    any_content: bool = False,
    cache_ttl: float = 0.0,
) -> Request:
    """Build one of the six shapes: list, get, create, update, delete, and ``POST …/{method}`` for any other.

    ``body`` is JSON-plain, or bytes that are JSON already; ``query`` is a mapping, or pairs of ``encode_query``.
    ``idempotency_key`` is text, or what makes one (or none) of the path; a read goes without. ``record_id`` is needed
    by get, optional for update and delete (some integrations take the id in the body), and refused by the others.
    """
    verb = VERBS.get(method, "POST")
    if record_id is None and method == "get":
        raise ValueError("get needs the record's id")
    if record_id is not None and method in {"list", "create"}:
        raise ValueError(f"{method} takes no record id")
    if method not in VERBS:
        if record_id is not None:
            raise ValueError(f"the custom method {method!r} takes no record id: put it into the body")
        segments = (*segments, method)
    elif record_id is not None:
        segments = (*segments, record_id)
    if verb == "GET" and body is not None:
        raise ValueError(f"{method} takes no body")
    path = build_path(*segments)
    if verb in READ_METHODS:
        idempotency_key = None
    return Request(
        method=verb,
        path=path,
        query=_build_query(integrated_account_id, query or (), is_unified=segments[0] == "unified"),
        body=_encode_body(body),
        idempotency_key=idempotency_key(path) if callable(idempotency_key) else idempotency_key,
        integrated_account_id=integrated_account_id,
        is_data=True,
        streamed=streamed,
        any_content=any_content,
        cache_ttl=cache_ttl,
    )


def names_record(body: Any) -> bool:
    """Whether a body names the record that a request without an id in its path is about."""
    return isinstance(body, Mapping) and body.get("id") not in (None, "")


def custom_request(
    verb: str,
    path: str,
    *,
    integrated_account_id: str,
    body: Any = None,
    content_type: str | None = None,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    streamed: bool = False,
) -> Request:
    """Build a request of ``/custom/{path}`` with any verb.

    ``body`` is JSON-plain; bytes and text go as they are, under ``content_type`` where it is given.
    """
    if not re.fullmatch(r"[A-Za-z]{3,20}", verb) or verb.upper() in _REFUSED_VERBS:
        raise ValueError(f"{verb!r} is not an HTTP method that can be called")
    is_raw = isinstance(body, (bytes, str))
    if content_type is not None and not is_raw:
        raise ValueError("content_type goes with a body of bytes or text; anything else is sent as JSON")
    verb = verb.upper()
    return Request(
        method=verb,
        path="/custom" + escape_path(path),
        query=_build_query(integrated_account_id, query or ()),
        body=(body.encode() if isinstance(body, str) else body) if is_raw else _encode_body(body),
        content_type=(content_type or ("application/octet-stream" if isinstance(body, bytes) else "text/plain"))
        if is_raw
        else JSON,
        headers=_check_headers(headers or {}),
        idempotency_key=idempotency_key if verb not in READ_METHODS else None,
        integrated_account_id=integrated_account_id,
        is_data=True,
        streamed=streamed,
        any_content=True,
    )


def batch_request(
    resources: Sequence[Mapping[str, Any]],
    *,
    integrated_account_id: str,
    args: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Request:
    """Build ``POST /batch-request`` of ``{"resource", "method", "id"?, "query"?, "body"?, …}`` each.

    Only an API token may call it (docs/api-reference/admin/batch-requests/create).
    """
    for item in resources:
        _check_batch_item(item)
    if other := find_other_account(_iterate_names(args)):
        raise ValueError(f"args choose no customer ({other!r}): that is the argument integrated_account_id")
    body = {"integrated_account_id": integrated_account_id, "resources": list(resources)}
    return Request(
        method="POST",
        path=build_path("batch-request"),
        body=encode_json(body if args is None else {**body, "args": args}),
        idempotency_key=idempotency_key,
        integrated_account_id=integrated_account_id,
    )


def meta_request(
    model: str,
    resource: str,
    method: str,
    *,
    integrated_account_id: str | None = None,
    integration: str | None = None,
) -> Request:
    """Build the question for a method's schemas: for an account, or for an integration, which needs none."""
    if integration is not None:
        return Request(
            method="GET",
            path=build_path("unified", model, resource, integration, "meta", method),
            cache_ttl=CACHE_TTL,
        )
    return Request(
        method="GET",
        path=build_path("unified", model, resource, "meta", method),
        query=encode_query({"integrated_account_id": integrated_account_id}),
        integrated_account_id=integrated_account_id,
        cache_ttl=CACHE_TTL,
    )


def model_docs_request(model: str, integration: str, *, form: Literal["json", "md", "html"] = "json") -> Request:
    """Build the question for a model's documentation; ``md`` and ``html`` are answered as text."""
    return Request(
        method="GET",
        path=build_path("unified", "meta", model, integration),
        query=encode_query({"format": form}),
        any_content=True,
        cache_ttl=CACHE_TTL,
    )


def capabilities_request(
    *,
    integrated_account_id: str | None = None,
    integration: str | None = None,
    kind: Literal["proxy", "unified", "all"] | None = None,
    methods: Sequence[str] | None = None,
    resource: str | None = None,
    has_description: bool | None = None,
    cache_ttl: float = CACHE_TTL,
) -> Request:
    """Build the question for what can be called, for one account or for an integration (slug or id)."""
    of = (
        ("integration", integration)
        if integration is not None
        else ("integrated-account", integrated_account_id or "")
    )
    query = {
        "type": kind,
        "methods": _join_names("methods", methods),
        "resource": resource,
        "has_description": has_description,
    }
    return Request(
        method="GET",
        path=build_path(*of, "capabilities"),
        query=encode_query(query),
        integrated_account_id=integrated_account_id if integration is None else None,
        cache_ttl=cache_ttl,
    )


def tools_request(
    integrated_account_id: str, *, methods: Sequence[str] | None = None, tags: Sequence[str] | None = None
) -> Request:
    """Build the question for an account's tools: its methods with their schemas."""
    query = {"methods": _join_names("methods", methods), "tags": _join_names("tags", tags)}
    return Request(
        method="GET",
        path=build_path("integrated-account", integrated_account_id, "tools"),
        query=encode_query(query),
        integrated_account_id=integrated_account_id,
        cache_ttl=CACHE_TTL,
    )


def integrated_account_request(integrated_account_id: str, *, cache_ttl: float = 0.0) -> Request:
    """Build the question for one integrated account."""
    return Request(
        method="GET",
        path=build_path("integrated-account", integrated_account_id),
        integrated_account_id=integrated_account_id,
        cache_ttl=cache_ttl,
    )


def own_account_request(integrated_account_id: str) -> Request:
    """Build the question of an account's own token for the account that it belongs to."""
    return Request(
        method="GET",
        path=build_path("integrated-account", "me"),
        integrated_account_id=integrated_account_id,
        is_data=True,
    )


def integrated_accounts_request(filters: Mapping[str, Any], *, cache_ttl: float = 0.0) -> Request:
    """Build the list of integrated accounts; ``filters`` are Truto's own, such as ``tenant_id`` and ``status``."""
    return Request(
        method="GET", path=build_path("integrated-account"), query=encode_query(filters), cache_ttl=cache_ttl
    )


def mint_request(integrated_account_id: str) -> Request:
    """Build the request for a token of one account, which lives 15 minutes."""
    return Request(
        method="POST",
        path=build_path("integrated-account", "token"),
        body=encode_json({"integrated_account_id": integrated_account_id}),
        integrated_account_id=integrated_account_id,
        is_idempotent=True,
    )


def refresh_request(integrated_account_id: str) -> Request:
    """Build the request to refresh an account's credentials; a second one does no harm."""
    return Request(
        method="POST",
        path=build_path("integrated-account", "refresh-credentials"),
        body=encode_json({"id": integrated_account_id}),
        integrated_account_id=integrated_account_id,
        is_idempotent=True,
    )


def logs_request(log_type: str, query: Mapping[str, Any]) -> Request:
    """Build the list of log entries; ``created_at`` is a range of at most a month, ``limit`` at most 100."""
    return Request(method="GET", path=build_path("log"), query=encode_query({"log_type": log_type, **query}))


def admin_request(
    verb: str, *segments: str, query: Mapping[str, Any] | None = None, body: Any = None, key: str | None = None
) -> Request:
    """Build a request of one of Truto's platform resources, such as ``sync-job-run``."""
    return Request(
        method=verb,
        path=build_path(*segments),
        query=encode_query(query or {}),
        body=_encode_body(body),
        idempotency_key=key,
    )


def _check_batch_item(item: Mapping[str, Any]) -> None:
    """Refuse what could lead a part of a batch to another customer than the batch's own."""
    if not isinstance(item, Mapping):
        raise TypeError(f"a resource of a batch is an object, not {type(item).__name__}")
    query, body = item.get("query"), item.get("body")
    around = {name: value for name, value in item.items() if name != "body"}
    if not isinstance(query, (Mapping, type(None))):
        raise TypeError(f"the query of a batch's resource is an object, not {type(query).__name__}")
    names = [*_iterate_names(around), *(body if isinstance(body, Mapping) else ())]
    is_unified = "/" in str(item.get("resource"))
    if other := find_other_account(names) or find_other_customer([*item, *((query or ()) if is_unified else ())]):
        raise ValueError(f"a batch is for one integrated account: none of its resources may name another ({other!r})")
    for name in ("resource", "method", "id"):
        if any(mark in str(item.get(name, "")) for mark in "?#&"):
            raise ValueError(f"the {name} of a batch's resource cannot hold a query: {item[name]!r}")
    is_blank = "id" in item and (item["id"] is None or str(item["id"]).strip() == "")
    if is_blank and not names_record(body):
        raise ValueError(f"the id of a batch's resource is {item['id']!r}: leave it out where no record is meant")


def _iterate_names(value: Any) -> Iterator[Any]:
    """Find the names of all objects in a value, however deep."""
    if isinstance(value, Mapping):
        yield from value
        for item in value.values():
            yield from _iterate_names(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _iterate_names(item)


def _encode_body(body: Any) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else encode_json(body)


def _build_query(
    integrated_account_id: str,
    query: Mapping[str, Any] | tuple[tuple[str, str], ...],
    *,
    is_unified: bool = False,
) -> tuple[tuple[str, str], ...]:
    """Write a query that begins with its account, of which there must be one only: it says whose data it is.

    The unified API has no filter by tenant, and ignores what it does not know; a CRM of its own may have one.
    """
    pairs = query if isinstance(query, tuple) else encode_query(query)
    return _add_account(integrated_account_id, pairs, is_unified)


@lru_cache(maxsize=1024)  # many requests of a customer are asked for in the same way
def _add_account(
    integrated_account_id: str, pairs: tuple[tuple[str, str], ...], is_unified: bool
) -> tuple[tuple[str, str], ...]:
    find_other = find_other_customer if is_unified else find_other_account
    if other := find_other(name.partition("[")[0] for name, _ in pairs):
        raise ValueError(f"a query names no customer ({other!r}): that is the argument integrated_account_id")
    return (*encode_query({"integrated_account_id": integrated_account_id}), *pairs)


def _join_names(name: str, texts: Sequence[str] | None) -> str | None:
    if isinstance(texts, str):
        raise TypeError(f"{name} takes a list of names, not one text")
    return ",".join(texts) if texts else None


def _check_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    for name, value in headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise ValueError(f"{name!r} is not the name of a header")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"the header {name} is set by the client itself")
        check_header(f"the header {name}", value)
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("a header is given twice: their names are the same in upper and lower case")
    return tuple(headers.items())
