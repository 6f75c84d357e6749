"""What can be asked about a method before it is called.

    GET /unified/{model}/{resource}/meta/{method}                the integration is that of an account
    GET /unified/{model}/{resource}/{integration}/meta/{method}  no account; `response_schema` comes in addition
    GET /unified/meta/{model}/{integration}                      all of a model, `format` is json, md or html

`{integration}` is a name or an id. An answer has the keys `method`, `schema` (the whole resource),
`documentation_link`, `response_mapping`, `query_schema`, `request_body_schema` (null for a method without a body),
`default_query` and `default_body`; see `schemas` for the dialect. Mappings and defaults are Truto's secret and empty
here. What the model docs contain is undocumented, and this emulator's own:

    {"model": "crm", "integration": "hubspot", "resources": [{"resource", "description", "methods": […]}]}
"""

from __future__ import annotations

from html import escape
from typing import Any

from airflow_provider_truto.emulator import schemas
from airflow_provider_truto.emulator.accounts import Integration
from airflow_provider_truto.emulator.call import Answer, Call, json_answer
from airflow_provider_truto.emulator.crossing import account_of, find_integration
from airflow_provider_truto.emulator.errors import RefusedError, allow
from airflow_provider_truto.emulator.methods import unified_methods
from airflow_provider_truto.emulator.resource import Resource
from airflow_provider_truto.emulator.resources import RESOURCES
from airflow_provider_truto.emulator.state import State
from airflow_provider_truto.emulator.unified import find_resource


def method_meta(
    state: State, call: Call, *, model: str, name: str, method: str, integration_name: str | None = None
) -> Answer:
    """About one method, for the account of the call or for a named integration."""
    allow(call, "GET")
    resource = find_resource(f"{model}/{name}")
    if integration_name is None:
        return json_answer(200, _described(method, resource, account_of(state, call).integration))
    integration = find_integration(state, integration_name)
    shown = {"response_schema": schemas.response_schema(resource, integration)}
    return json_answer(200, {**_described(method, resource, integration), **shown})


def model_docs(state: State, call: Call, *, model: str, integration_name: str) -> Answer:
    """About all methods of all resources of a model."""
    allow(call, "GET")
    integration = find_integration(state, integration_name)
    resources = [RESOURCES[key] for key in integration.resources if RESOURCES[key].model == model]
    if not resources:
        raise RefusedError(404, f"{integration.name} has no unified model {model}")
    docs = {
        "model": model,
        "integration": integration.name,
        "resources": [
            {
                "resource": resource.name,
                "description": resource.description,
                "methods": [_described(method, resource, integration) for method in methods_of(resource)],
            }
            for resource in resources
        ],
    }
    form = call.query.get("format", "json")
    if form == "json":
        return json_answer(200, docs)
    if form == "md":
        return Answer(200, _markdown(docs).encode(), (("content-type", "text/markdown; charset=utf-8"),))
    if form == "html":
        page = f"<!doctype html>\n<title>{escape(model)}</title>\n<pre>{escape(_markdown(docs))}</pre>\n"
        return Answer(200, page.encode(), (("content-type", "text/html; charset=utf-8"),))
    raise RefusedError(400, "format must be one of json, md, html")


def methods_of(resource: Resource) -> list[str]:
    """All unified methods of a resource."""
    return [*resource.methods, *unified_methods(resource)]


def _described(method: str, resource: Resource, integration: Integration) -> dict[str, Any]:
    if resource.key not in integration.resources or method not in methods_of(resource):
        raise RefusedError(404, f"{integration.name} has no method {method} on {resource.key}")
    body = None
    if custom := unified_methods(resource).get(method):
        body = schemas.custom_body_schema(custom)
    elif method in ("create", "update"):
        body = schemas.body_schema(method, resource, integration)
    return {
        "method": method,
        "schema": schemas.resource_schema(resource),
        "documentation_link": resource.docs_url,
        "response_mapping": "",
        "query_schema": schemas.query_schema(method, resource, integration),
        "request_body_schema": body,
        "default_query": {},
        "default_body": None,
    }


def _markdown(docs: dict[str, Any]) -> str:
    lines = [f"# {docs['model']} for {docs['integration']}"]
    for resource in docs["resources"]:
        names = ", ".join(method["method"] for method in resource["methods"])
        lines += ["", f"## {resource['resource']}", "", resource["description"], "", f"Methods: {names}"]
    return "\n".join(lines) + "\n"
