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

from airflow_provider_truto.emulator.http.errors import RefusedError, allow_methods
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, json_response
from airflow_provider_truto.emulator.routes import schemas
from airflow_provider_truto.emulator.routes.access import find_integration, find_request_account
from airflow_provider_truto.emulator.routes.unified import find_resource
from airflow_provider_truto.emulator.state.accounts import Integration
from airflow_provider_truto.emulator.state.methods import find_unified_methods
from airflow_provider_truto.emulator.state.resource import Resource
from airflow_provider_truto.emulator.state.resources import RESOURCES
from airflow_provider_truto.emulator.state.state import State


def describe_method(
    state: State, request: Request, *, model: str, name: str, method: str, integration_name: str | None = None
) -> Response:
    """Describe one method, for the account of the call or for a named integration."""
    allow_methods(request, "GET")
    resource = find_resource(f"{model}/{name}")
    if integration_name is None:
        return json_response(200, _describe(method, resource, find_request_account(state, request).integration))
    integration = find_integration(state, integration_name)
    shown = {"response_schema": schemas.build_response_schema(resource, integration)}
    return json_response(200, {**_describe(method, resource, integration), **shown})


def describe_model(state: State, request: Request, *, model: str, integration_name: str) -> Response:
    """Describe all methods of all resources of a model."""
    allow_methods(request, "GET")
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
                "methods": [_describe(method, resource, integration) for method in list_methods(resource)],
            }
            for resource in resources
        ],
    }
    form = request.query.get("format", "json")
    if form == "json":
        return json_response(200, docs)
    if form == "md":
        return Response(200, _write_markdown(docs).encode(), (("content-type", "text/markdown; charset=utf-8"),))
    if form == "html":
        page = f"<!doctype html>\n<title>{escape(model)}</title>\n<pre>{escape(_write_markdown(docs))}</pre>\n"
        return Response(200, page.encode(), (("content-type", "text/html; charset=utf-8"),))
    raise RefusedError(400, "format must be one of json, md, html")


def list_methods(resource: Resource) -> list[str]:
    """Return all unified methods of a resource."""
    return [*resource.methods, *find_unified_methods(resource)]


def _describe(method: str, resource: Resource, integration: Integration) -> dict[str, Any]:
    if resource.key not in integration.resources or method not in list_methods(resource):
        raise RefusedError(404, f"{integration.name} has no method {method} on {resource.key}")
    body = None
    if custom := find_unified_methods(resource).get(method):
        body = schemas.build_custom_body_schema(custom)
    elif method in ("create", "update"):
        body = schemas.build_body_schema(method, resource, integration)
    return {
        "method": method,
        "schema": schemas.build_resource_schema(resource),
        "documentation_link": resource.docs_url,
        "response_mapping": "",
        "query_schema": schemas.build_query_schema(method, resource, integration),
        "request_body_schema": body,
        "default_query": {},
        "default_body": None,
    }


def _write_markdown(docs: dict[str, Any]) -> str:
    lines = [f"# {docs['model']} for {docs['integration']}"]
    for resource in docs["resources"]:
        names = ", ".join(method["method"] for method in resource["methods"])
        lines += ["", f"## {resource['resource']}", "", resource["description"], "", f"Methods: {names}"]
    return "\n".join(lines) + "\n"
