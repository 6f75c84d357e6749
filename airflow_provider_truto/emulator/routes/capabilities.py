"""What can be called, of which integration.

    GET /integrated-account/{id}/capabilities     with `environment_id` and a block `account`
    GET /integration/{name or id}/capabilities    without
    GET /integrated-account/{id}/tools            the proxy methods that have a description, with their schemas

Capabilities are narrowed by `type` (proxy, unified, all), `methods` (as in `list,get`), `resource` and
`has_description`: unless it is `false`, proxy methods without a description are left out. Tools are narrowed by
`methods` and by `tags`, of which each tool here has one, the unified model of its resource. The insides of `auth` are
empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from airflow_provider_truto.emulator.http.errors import RefusedError, allow_methods
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, json_response
from airflow_provider_truto.emulator.routes import schemas
from airflow_provider_truto.emulator.routes.access import find_account, find_integration
from airflow_provider_truto.emulator.routes.meta import list_methods
from airflow_provider_truto.emulator.state.accounts import Integration
from airflow_provider_truto.emulator.state.methods import find_native_methods
from airflow_provider_truto.emulator.state.resource import Resource
from airflow_provider_truto.emulator.state.resources import RESOURCES
from airflow_provider_truto.emulator.state.state import State

_NAMES = {
    "list": "list_all_{integration}_{native}",
    "get": "get_single_{integration}_{singular}_by_id",
    "create": "create_a_{integration}_{singular}",
    "update": "update_a_{integration}_{singular}_by_id",
    "delete": "delete_a_{integration}_{singular}_by_id",
}
_DESCRIPTIONS = {
    "list": "Lists {native}.",
    "get": "Gets one {singular}.",
    "create": "Creates a {singular}.",
    "update": "Updates a {singular}.",
    "delete": "Deletes a {singular}.",
}


def describe_account(state: State, request: Request, *, account_id: str) -> Response:
    """Return the capabilities of an account."""
    allow_methods(request, "GET")
    account = find_account(state, account_id)
    record = account.record
    return json_response(
        200,
        {
            **_build_capabilities(request, account.integration),
            "environment_id": record["environment_id"],
            "account": {
                "id": account_id,
                "status": record["status"],
                "authentication_method": record["authentication_method"],
                "is_blocked": account.is_blocked,
            },
        },
    )


def describe_integration(state: State, request: Request, *, name_or_id: str) -> Response:
    """Return the capabilities of an integration, before anybody has connected it."""
    allow_methods(request, "GET")
    return json_response(200, _build_capabilities(request, find_integration(state, name_or_id)))


def list_tools(state: State, request: Request, *, account_id: str) -> Response:
    """Return the proxy methods as an LLM is told of them."""
    allow_methods(request, "GET")
    integration = find_account(state, account_id).integration
    tags = _split_commas(request.query.get("tags"))
    result = [
        _build_tool(resource, method)
        for resource in _list_resources(integration)
        if tags is None or resource.model in tags
        for method in _select_list_native_methods(request, resource, integration)
        if method["has_description"]
    ]
    return json_response(200, {"result": result})


def _build_capabilities(request: Request, integration: Integration) -> dict[str, Any]:
    kind = request.query.get("type", "all")
    if kind not in ("proxy", "unified", "all"):
        raise RefusedError(400, "type must be one of proxy, unified, all")
    proxy = [] if kind == "unified" else list(_list_proxy(request, integration))
    every = [
        method for resource in _list_resources(integration) for method in _list_native_methods(resource, integration)
    ]
    described = [method for method in every if method["has_description"]]
    return {
        "integration": {**integration.summary, "label": integration.name},
        "proxy": proxy,
        "unified": [] if kind == "proxy" else list(_list_unified(request, integration)),
        "auth": {"formats": [], "fields": []},
        "ai_readiness": {
            "proxy_methods": len(every),
            "proxy_methods_with_descriptions": len(described),
            "ai_ready_score": len(described) / len(every) if every else 0,
        },
    }


def _list_proxy(request: Request, integration: Integration) -> Iterator[dict[str, Any]]:
    for resource in _list_resources(integration):
        methods = [
            method
            for method in _select_list_native_methods(request, resource, integration)
            if method["has_description"] or request.query.get("has_description") == "false"
        ]
        if methods and request.query.get("resource") in (None, resource.native):
            yield {"resource": resource.native, "methods": methods}


def _list_unified(request: Request, integration: Integration) -> Iterator[dict[str, Any]]:
    asked = _split_commas(request.query.get("methods"))
    for resource in _list_resources(integration):
        methods = [method for method in list_methods(resource) if asked is None or method in asked]
        if methods and request.query.get("resource") in (None, resource.name):
            yield {
                "model": resource.model,
                "model_label": resource.model_label,
                "resource": resource.name,
                "description": resource.description,
                "docs_url": resource.docs_url,
                "methods": methods,
                "env_overridden": False,
            }


def _select_list_native_methods(
    request: Request, resource: Resource, integration: Integration
) -> list[dict[str, Any]]:
    asked = _split_commas(request.query.get("methods"))
    methods = _list_native_methods(resource, integration)
    return [method for method in methods if asked is None or method["method"] in asked]


def _list_native_methods(resource: Resource, integration: Integration) -> list[dict[str, Any]]:
    words = {"integration": integration.name, "native": resource.native, "singular": resource.singular}
    usual = [
        (method, _NAMES[method].format(**words), _DESCRIPTIONS[method].format(**words)) for method in resource.methods
    ]
    others = [
        (method.name, f"{integration.name}_{resource.native}_{method.name}", method.description)
        for method in find_native_methods(resource).values()
    ]
    return [
        {
            "method": method,
            "name": name,
            "description": description,
            "has_description": description is not None,
            "has_query_schema": method == "list",
            "has_body_schema": method not in ("list", "get", "delete"),
            "has_response_schema": False,
            "api_documentation_url": None,
        }
        for method, name, description in [*usual, *others]
    ]


def _build_tool(resource: Resource, method: dict[str, Any]) -> dict[str, Any]:
    name = method["method"]
    query = schemas.build_native_query_schema(name)
    body = schemas.build_native_body_schema(resource) if method["has_body_schema"] else None
    of_one = ["id"] if name in ("get", "update", "delete") else []
    return {
        "resource": resource.native,
        "method": name,
        "name": method["name"],
        "description": method["description"],
        "query_schema": query,
        "body_schema": body,
        "required": [*of_one, *(schemas.list_required(body) if body else [])],
    }


def _list_resources(integration: Integration) -> list[Resource]:
    return [RESOURCES[key] for key in integration.resources]


def _split_commas(text: Any) -> Collection[str] | None:
    return str(text).split(",") if text else None
