"""What can be asked about a method before it is called."""

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX, HOOLI, default_seed
from airflow_provider_truto.emulator.state.resources import RESOURCES

KEYS = {
    *("method", "schema", "documentation_link", "response_mapping", "query_schema", "request_body_schema"),
    *("default_query", "default_body"),
}


def of_account(truto, method="update", *, key="crm/accounts", account=ACME):
    return truto.get(f"/unified/{key}/meta/{method}", account=account)


def of_integration(truto, integration, method="update", *, key="crm/accounts"):
    return truto.get(f"/unified/{key}/{integration}/meta/{method}", account=None)


def walk(node):
    """A schema and every schema in it."""
    yield node
    for name, child in node.items():
        if name in ("properties", "$defs"):
            for inner in child.values():
                yield from walk(inner)
        elif name == "items":
            yield from walk(child)


@pytest.mark.parametrize("method", ["list", "get", "create", "update", "delete", "assign-owner"])
def test_a_method_is_described_for_an_account_and_for_an_integration(truto, method):
    account, integration = of_account(truto, method).json(), of_integration(truto, "hubspot", method).json()
    assert account.keys() == KEYS
    assert integration.keys() == {*KEYS, "response_schema"}
    assert account == {key: integration[key] for key in KEYS}
    assert account["method"] == method
    has_body = method in ("create", "update", "assign-owner")
    assert (account["request_body_schema"] is not None) is has_body


@pytest.mark.parametrize("key", RESOURCES)
@pytest.mark.parametrize("integration", ["hubspot", "salesforce"])
def test_every_schema_is_in_the_dialect_of_truto(truto, key, integration):
    for method in RESOURCES[key].methods:
        meta = of_integration(truto, integration, method, key=key).json()
        schemas = [meta[name] for name in ("schema", "response_schema", "query_schema", "request_body_schema")]
        for schema in filter(None, schemas):
            assert schema["type"] == "object"
            assert isinstance(schema["additionalProperties"], bool)
            for inner in walk(schema):
                assert isinstance(inner.get("required", True), bool)
                assert "$ref" in inner or isinstance(inner["type"], str)


def test_the_schema_has_all_fields_and_a_body_those_that_can_be_written(truto):
    meta = of_integration(truto, "hubspot").json()
    read_only = {"id", "updated_at", "last_activity_at"}
    assert meta["schema"]["properties"].keys() - meta["request_body_schema"]["properties"].keys() == read_only
    assert meta["response_schema"]["properties"].keys() == meta["schema"]["properties"].keys()


@pytest.mark.parametrize(
    ("integration", "unmapped"), [("salesforce", {"urls"}), ("attio", {"industry", "number_of_employees"})]
)
def test_what_an_integration_does_not_map_is_in_the_whole_schema_only(truto, integration, unmapped):
    meta = of_integration(truto, integration).json()
    whole = meta["schema"]["properties"].keys()
    assert whole - meta["response_schema"]["properties"].keys() == unmapped
    assert unmapped <= whole
    assert not unmapped & meta["request_body_schema"]["properties"].keys()
    assert not unmapped & of_integration(truto, integration, "list").json()["query_schema"]["properties"].keys()


@pytest.mark.parametrize(
    ("integration", "method", "required"),
    [
        ("hubspot", "update", set()),
        ("hubspot", "create", {"name"}),
        ("pipedrive", "update", {"name"}),
        ("attio", "update", {"id", "name"}),
        ("attio", "create", {"name"}),
        ("hubspot", "assign-owner", {"id", "owner"}),
    ],
)
def test_what_is_required_says_so_itself(truto, integration, method, required):
    body = of_integration(truto, integration, method).json()["request_body_schema"]
    assert body["required"] is True
    assert {name for name, inner in body["properties"].items() if inner.get("required")} == required


def test_only_a_list_has_pages_and_filters(truto):
    listed, got = (of_account(truto, method).json()["query_schema"] for method in ("list", "get"))
    assert listed["properties"].keys() - got["properties"].keys() >= {"limit", "next_cursor", "updated_at", "name"}
    assert {name for name, inner in got["properties"].items() if inner.get("required")} == {"integrated_account_id"}
    assert listed["properties"]["truto_response_format"]["default"] == "unified"


def test_what_is_required_inside_of_a_field_says_so_too(truto):
    body = of_integration(truto, "pipedrive").json()["request_body_schema"]
    phone = body["properties"]["phone_numbers"]["items"]
    assert {name for name, inner in phone["properties"].items() if inner.get("required")} == {"number"}
    owner = of_integration(truto, "attio").json()["request_body_schema"]["properties"]["owner"]
    assert owner["properties"]["id"]["required"] is True
    emails = of_integration(truto, "hubspot", key="crm/contacts").json()["request_body_schema"]["properties"][
        "email_addresses"
    ]
    assert emails["items"]["properties"]["email"]["required"] is True


def test_an_integration_may_share_definitions(truto):
    for schema in (
        of_account(truto, account=GLOBEX).json()["request_body_schema"],
        of_integration(truto, "salesforce", "get").json()["response_schema"],
    ):
        properties, definitions = schema["properties"], schema["$defs"]
        assert properties["phone_numbers"]["items"] == {"$ref": "#/$defs/phone_numbers"}
        assert properties["owner"]["$ref"] == "#/$defs/owner"
        references = {inner["$ref"].removeprefix("#/$defs/") for inner in walk(schema) if "$ref" in inner}
        assert references == set(definitions)
        assert definitions["owner"] == {"type": "object", "properties": {"id": {"type": "string"}}}
        assert definitions["phone_numbers"]["properties"]["type"]["enum"] == ["work", "mobile", "fax"]


def test_shared_definitions_say_what_is_required_inside(another):
    seed = default_seed()
    seed["integrations"]["salesforce"]["required"] = ["phone_numbers.number"]
    body = of_account(another(seed), account=GLOBEX).json()["request_body_schema"]
    assert body["$defs"]["phone_numbers"]["properties"]["number"]["required"] is True


@pytest.mark.parametrize(
    ("path", "account", "status"),
    [
        ("/unified/crm/accounts/meta/update", None, 400),
        ("/unified/crm/accounts/meta/update", "x", 404),
        ("/unified/crm/accounts/meta/update", HOOLI, 200),
        ("/unified/crm/accounts/meta/search", ACME, 404),
        ("/unified/crm/leads/meta/update", ACME, 404),
        ("/unified/crm/fields/meta/update", ACME, 404),
        ("/unified/crm/accounts/nobody/meta/update", None, 404),
        ("/unified/crm/accounts/1a700000-0000-4000-8000-000000000001/meta/update", None, 200),
        ("/unified/ticketing/tickets/attio/meta/update", None, 404),
        ("/unified/meta/crm/nobody", None, 404),
        ("/unified/meta/hris/hubspot", None, 404),
        ("/unified/meta/ticketing/attio", None, 404),
        ("/unified/meta/crm/hubspot?format=pdf", None, 400),
    ],
)
def test_only_what_there_is_is_described(truto, path, account, status):
    assert truto.get(path, account=account).status_code == status


@pytest.mark.parametrize("path", ["/unified/crm/accounts/meta/update", "/unified/meta/crm/hubspot"])
def test_it_is_only_read(truto, path):
    assert truto.call("POST", path, json={}).status_code == 405


def test_a_model_is_described_as_a_whole(truto):
    docs = truto.get("/unified/meta/crm/hubspot").json()
    assert (docs["model"], docs["integration"]) == ("crm", "hubspot")
    assert [resource["resource"] for resource in docs["resources"]] == [
        "accounts", "contacts", "opportunities", "fields"
    ]  # fmt: skip
    described = docs["resources"][0]["methods"][3]
    assert described == of_account(truto).json()


@pytest.mark.parametrize(
    ("form", "content_type", "begin"),
    [
        ("json", "application/json", "{"),
        ("md", "text/markdown; charset=utf-8", "# crm for hubspot"),
        ("html", "text/html; charset=utf-8", "<!doctype html>"),
    ],
)
def test_a_model_is_described_in_three_formats(truto, form, content_type, begin):
    response = truto.get("/unified/meta/crm/hubspot", params={"format": form})
    assert response.headers["content-type"] == content_type
    assert response.text.startswith(begin)
    assert "opportunities" in response.text


def test_nothing_of_this_reaches_a_crm(truto, emulator):
    of_account(truto)
    assert emulator.executions == []
