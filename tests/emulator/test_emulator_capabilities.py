"""What can be called, of an account and of an integration."""

import pytest

from airflow_provider_truto.emulator import ACME, HOOLI
from airflow_provider_truto.emulator.state.resources import NATIVE_RESOURCES, RESOURCES

USUAL = ["list", "get", "create", "update", "delete"]
UNIFIED = {"model", "model_label", "resource", "description", "docs_url", "methods", "env_overridden"}
PROXY_METHOD = {
    *("method", "name", "description", "has_description", "has_query_schema", "has_body_schema"),
    *("has_response_schema", "api_documentation_url"),
}


def capabilities(truto, params=None, *, of=f"integrated-account/{ACME}"):
    return truto.get(f"/{of}/capabilities", params=params or {})


def by_resource(items):
    return {item["resource"]: item["methods"] for item in items}


def names(items):
    return {resource: [method["method"] for method in methods] for resource, methods in by_resource(items).items()}


@pytest.mark.parametrize(("account_id", "is_blocked"), [(ACME, False), (HOOLI, True)])
def test_capabilities_tell_whether_the_account_is_blocked(truto, account_id, is_blocked):
    shown = capabilities(truto, of=f"integrated-account/{account_id}").json()
    record = truto.get(f"/integrated-account/{account_id}").json()
    assert shown.keys() == {"integration", "environment_id", "proxy", "unified", "auth", "ai_readiness", "account"}
    assert shown["integration"].items() >= record["integration"].items()
    assert shown["account"] == {
        "id": account_id,
        "status": "active",
        "authentication_method": record["authentication_method"],
        "is_blocked": is_blocked,
    }


def test_unified_capabilities_are_all_resources_with_their_methods(truto):
    unified = capabilities(truto).json()["unified"]
    assert [f"{item['model']}/{item['resource']}" for item in unified] == list(RESOURCES)
    assert {frozenset(item) for item in unified} == {frozenset(UNIFIED)}
    methods = by_resource(unified)
    assert methods["accounts"] == [*USUAL, "assign-owner"]
    assert methods["contacts"] == USUAL
    assert methods["fields"] == ["list", "get"]


def test_proxy_capabilities_are_all_native_resources_with_their_methods(truto):
    proxy = capabilities(truto, {"has_description": "false"}).json()["proxy"]
    assert [item["resource"] for item in proxy] == list(NATIVE_RESOURCES)
    assert {frozenset(method) for item in proxy for method in item["methods"]} == {frozenset(PROXY_METHOD)}
    assert names(proxy)["companies"] == [*USUAL, "merge"]
    assert names(proxy)["properties"] == ["list", "get"]
    update, merge = by_resource(proxy)["companies"][3], by_resource(proxy)["companies"][5]
    assert update["name"] == "update_a_hubspot_company_by_id"
    assert (update["has_body_schema"], update["has_query_schema"]) == (True, False)
    assert (merge["description"], merge["has_description"]) == (None, False)


def test_a_method_without_a_description_is_told_only_where_asked_for(truto):
    for params in ({}, {"has_description": "true"}):
        shown = capabilities(truto, params).json()
        assert names(shown["proxy"])["companies"] == USUAL
    readiness = shown["ai_readiness"]
    assert readiness["proxy_methods"] == readiness["proxy_methods_with_descriptions"] + 1
    assert 0.9 < readiness["ai_ready_score"] < 1


@pytest.mark.parametrize(
    ("params", "proxy", "unified"),
    [
        ({"type": "unified"}, 0, 6),
        ({"type": "proxy"}, 6, 0),
        ({"type": "all"}, 6, 6),
        ({"resource": "contacts"}, 1, 1),
        ({"resource": "companies"}, 1, 0),
        ({"resource": "accounts"}, 0, 1),
        ({"resource": "nothing"}, 0, 0),
        ({"methods": "update"}, 5, 5),
        ({"methods": "assign-owner"}, 0, 1),
        ({"methods": "merge"}, 0, 0),
        ({"methods": "merge", "has_description": "false"}, 1, 0),
        ({"methods": "search"}, 0, 0),
    ],
)
def test_capabilities_are_narrowed_by_their_parameters(truto, params, proxy, unified):
    shown = capabilities(truto, params).json()
    assert (len(shown["proxy"]), len(shown["unified"])) == (proxy, unified)


def test_only_the_methods_asked_for_are_told(truto):
    shown = capabilities(truto, {"methods": "get,list,assign-owner"}).json()
    assert by_resource(shown["unified"])["accounts"] == ["list", "get", "assign-owner"]
    assert names(shown["proxy"])["companies"] == ["list", "get"]


@pytest.mark.parametrize("name", ["attio", "1a700000-0000-4000-8000-000000000006"])
def test_an_integration_has_capabilities_before_it_is_connected(truto, name):
    shown = capabilities(truto, of=f"integration/{name}").json()
    assert shown.keys() == {"integration", "proxy", "unified", "auth", "ai_readiness"}
    assert shown["integration"]["name"] == "attio"
    assert list(by_resource(shown["unified"])) == ["accounts", "contacts"]
    assert list(by_resource(shown["proxy"])) == ["companies", "contacts"]


@pytest.mark.parametrize(
    ("of", "params", "status"),
    [
        (f"integrated-account/{ACME}", {"type": "x"}, 400),
        ("integration/hubspot", {"type": "x"}, 400),
        ("integration/nobody", {}, 404),
        (f"integration/{ACME}", {}, 404),
        ("integrated-account/00000000-0000-4000-8000-00000000dead", {}, 404),
        ("integrated-account/hubspot", {}, 404),
    ],
)
def test_nonsense_is_refused(truto, of, params, status):
    assert capabilities(truto, params, of=of).status_code == status


@pytest.mark.parametrize("path", ["integration/hubspot/capabilities", f"integrated-account/{ACME}/tools"])
def test_it_is_only_read(truto, path):
    assert truto.call("POST", f"/{path}").status_code == 405


@pytest.mark.parametrize(
    ("params", "count"),
    [({}, 27), ({"tags": "ticketing"}, 5), ({"tags": "ticketing,crm"}, 22), ({"tags": "x"}, 0),
     ({"methods": "create"}, 5), ({"methods": "list,get", "tags": "crm"}, 8), ({"methods": "merge"}, 0)],
)  # fmt: skip
def test_tools_are_narrowed_by_methods_and_tags(truto, params, count):
    tools = truto.get(f"/integrated-account/{ACME}/tools", params=params).json()["result"]
    assert len(tools) == count
    for tool in tools:
        assert tool.keys() == {
            *("resource", "method", "name", "description", "query_schema", "body_schema", "required")
        }


def test_a_tool_says_what_it_needs(truto):
    tools = truto.get(f"/integrated-account/{ACME}/tools").json()["result"]
    by_name = {tool["name"]: tool for tool in tools}
    create, get = by_name["create_a_hubspot_company"], by_name["get_single_hubspot_company_by_id"]
    assert create["required"] == ["properties"]
    assert create["body_schema"]["properties"]["properties"]["properties"]["name"]["required"] is True
    assert (get["required"], get["body_schema"]) == (["id"], None)
    assert "limit" in by_name["list_all_hubspot_companies"]["query_schema"]["properties"]


def test_an_unknown_account_has_no_tools(truto):
    assert truto.get("/integrated-account/x/tools").status_code == 404
