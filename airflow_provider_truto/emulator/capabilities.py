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

from airflow_provider_truto.emulator import schemas
from airflow_provider_truto.emulator.accounts import Integration
from airflow_provider_truto.emulator.call import Answer, Call, json_answer
from airflow_provider_truto.emulator.crossing import find_account, find_integration
from airflow_provider_truto.emulator.errors import RefusedError, allow
from airflow_provider_truto.emulator.meta import methods_of
from airflow_provider_truto.emulator.methods import native_methods
from airflow_provider_truto.emulator.resource import Resource
from airflow_provider_truto.emulator.resources import RESOURCES
from airflow_provider_truto.emulator.state import State

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


def account_capabilities(state: State, call: Call, *, account_id: str) -> Answer:
    """Those of an account."""
    allow(call, "GET")
    account = find_account(state, account_id)
    record = account.record
    return json_answer(
        200,
        {
            **_capabilities(call, account.integration),
            "environment_id": record["environment_id"],
            "account": {
                "id": account_id,
                "status": record["status"],
                "authentication_method": record["authentication_method"],
                "is_blocked": account.is_blocked,
            },
        },
    )


def integration_capabilities(state: State, call: Call, *, name_or_id: str) -> Answer:
    """Those of an integration, before anybody has connected it."""
    allow(call, "GET")
    return json_answer(200, _capabilities(call, find_integration(state, name_or_id)))


def tools(state: State, call: Call, *, account_id: str) -> Answer:
    """The proxy methods as an LLM is told of them."""
    allow(call, "GET")
    integration = find_account(state, account_id).integration
    tags = _comma_list(call.query.get("tags"))
    result = [
        _tool(resource, method)
        for resource in _resources(integration)
        if tags is None or resource.model in tags
        for method in _native_capabilities(call, resource, integration)
        if method["has_description"]
    ]
    return json_answer(200, {"result": result})


def _capabilities(call: Call, integration: Integration) -> dict[str, Any]:
    kind = call.query.get("type", "all")
    if kind not in ("proxy", "unified", "all"):
        raise RefusedError(400, "type must be one of proxy, unified, all")
    proxy = [] if kind == "unified" else list(_proxy(call, integration))
    every = [method for resource in _resources(integration) for method in _native_methods(resource, integration)]
    described = [method for method in every if method["has_description"]]
    return {
        "integration": {**integration.shown, "label": integration.name},
        "proxy": proxy,
        "unified": [] if kind == "proxy" else list(_unified(call, integration)),
        "auth": {"formats": [], "fields": []},
        "ai_readiness": {
            "proxy_methods": len(every),
            "proxy_methods_with_descriptions": len(described),
            "ai_ready_score": len(described) / len(every) if every else 0,
        },
    }


def _proxy(call: Call, integration: Integration) -> Iterator[dict[str, Any]]:
    for resource in _resources(integration):
        methods = [
            method
            for method in _native_capabilities(call, resource, integration)
            if method["has_description"] or call.query.get("has_description") == "false"
        ]
        if methods and call.query.get("resource") in (None, resource.native):
            yield {"resource": resource.native, "methods": methods}


def _unified(call: Call, integration: Integration) -> Iterator[dict[str, Any]]:
    asked = _comma_list(call.query.get("methods"))
    for resource in _resources(integration):
        methods = [method for method in methods_of(resource) if asked is None or method in asked]
        if methods and call.query.get("resource") in (None, resource.name):
            yield {
                "model": resource.model,
                "model_label": resource.model_label,
                "resource": resource.name,
                "description": resource.description,
                "docs_url": resource.docs_url,
                "methods": methods,
                "env_overridden": False,
            }


def _native_capabilities(call: Call, resource: Resource, integration: Integration) -> list[dict[str, Any]]:
    asked = _comma_list(call.query.get("methods"))
    methods = _native_methods(resource, integration)
    return [method for method in methods if asked is None or method["method"] in asked]


def _native_methods(resource: Resource, integration: Integration) -> list[dict[str, Any]]:
    words = {"integration": integration.name, "native": resource.native, "singular": resource.singular}
    usual = [
        (method, _NAMES[method].format(**words), _DESCRIPTIONS[method].format(**words)) for method in resource.methods
    ]
    others = [
        (method.name, f"{integration.name}_{resource.native}_{method.name}", method.description)
        for method in native_methods(resource).values()
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


def _tool(resource: Resource, method: dict[str, Any]) -> dict[str, Any]:
    name = method["method"]
    query = schemas.native_query_schema(name)
    body = schemas.native_body_schema(resource) if method["has_body_schema"] else None
    of_one = ["id"] if name in ("get", "update", "delete") else []
    return {
        "resource": resource.native,
        "method": name,
        "name": method["name"],
        "description": method["description"],
        "query_schema": query,
        "body_schema": body,
        "required": [*of_one, *(schemas.required_names(body) if body else [])],
    }


def _resources(integration: Integration) -> list[Resource]:
    return [RESOURCES[key] for key in integration.resources]


def _comma_list(text: Any) -> Collection[str] | None:
    return str(text).split(",") if text else None
