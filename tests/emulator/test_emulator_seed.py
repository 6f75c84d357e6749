"""Seeds: what can be started with, and what is said of one that cannot."""

import json

import pytest

from airflow_provider_truto.emulator import ACME, TOKEN, Emulator, SeedError, default_seed

MINE = "11111111-2222-4333-8444-555555555555"
SMALL = {
    "tokens": [{"token": "mine"}],
    "integrations": {"attio": {"id": "1"}},
    "integrated_accounts": [{"id": MINE, "tenant_id": "me", "integration": "attio"}],
    "records": {MINE: {"crm/accounts": [{"id": "1", "name": "One", "remote_data": {"native": True}}]}},
}


def test_a_seed_may_be_a_mapping(another):
    truto = another(SMALL)
    assert truto.emulator.token == "mine"
    record = truto.get("/unified/crm/accounts/1", account=MINE).json()
    assert record["name"] == "One"
    assert record["remote_data"] == {"id": "1", "native": True, "properties": {"name": "One"}}


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_seed_may_be_a_file(another, tmp_path, kind):
    path = tmp_path / "seed.json"
    path.write_text(json.dumps(SMALL), encoding="utf-8")
    assert another(kind(path)).get("/unified/crm/accounts/1", account=MINE).status_code == 200


def test_what_a_seed_leaves_out_is_that_of_the_default_one(another):
    truto = another({"integrated_accounts": [{"id": MINE, "tenant_id": "me", "integration": "hubspot"}]})
    assert truto.emulator.token == TOKEN
    assert truto.get("/unified/crm/accounts", account=MINE).json()["result"] == []
    created = truto.call("POST", "/unified/crm/accounts", account=MINE, json={"name": "First"})
    assert created.status_code == 200
    assert another({"tokens": [{"token": "x"}]}).get().json()["name"] == "Northwind Traders"


def test_the_default_seed_is_a_fresh_copy():
    default_seed()["integrations"].clear()
    assert default_seed()["integrations"]


def test_a_given_mapping_is_neither_kept_nor_changed(another):
    seed = default_seed()
    before = json.dumps(seed)
    truto = another(seed)
    truto.patch(json={"custom_fields": {"tier": "x"}, "name": "N"})
    truto.emulator.state.accounts[ACME].require_reauth("x")
    assert json.dumps(seed) == before
    seed["records"][ACME]["crm/accounts"].clear()
    truto.emulator.reset()
    assert truto.get().status_code == 200


def test_a_reset_undoes_what_a_test_did_to_the_state_itself(another):
    truto = another()
    truto.emulator.state.records[ACME]["crm/accounts"]["23423523"]["properties"]["owner"]["id"] = "changed"
    truto.emulator.reset()
    assert truto.get().json()["owner"] == {"id": "u-17"}


def changed(path, value):
    """The default seed with another value at the path."""
    seed = default_seed()
    *outer, last = path
    place = seed
    for step in outer:
        place = place[step]
    place[last] = value
    return seed


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        ({"token": []}, "seed: unknown key 'token'; known are tokens, integrations, integrated_accounts, records"),
        ({"tokens": {}}, "tokens: must be a list"),
        ({"tokens": ["x"]}, r"tokens\[0\]: must be an object"),
        ({"tokens": [{"token": "x", "expires": 1}]}, "unknown key 'expires'"),
        ({"tokens": [{"token": "x", "expires_at": "soon"}]}, "ISO 8601"),
        ({"tokens": [{"expires_at": None}]}, "needs 'token'"),
        (changed(("integrations", "hubspot", "unmaped"), []), "integrations.hubspot: unknown key 'unmaped'"),
        (changed(("integrations", "hubspot", "unmapped"), ["websiet"]), "no resource has a field 'websiet'"),
        (changed(("integrations", "hubspot", "unique"), "website"), "integrations.hubspot.unique: must be a list"),
        (
            changed(("integrated_accounts", 0, "statuss"), "active"),
            r"integrated_accounts\[0\]: unknown key 'statuss'",
        ),
        (changed(("integrated_accounts", 0, "integration"), "x"), "the integration 'x' is not seeded"),
        (changed(("integrated_accounts", 0, "id"), 7), "needs 'id', a text"),
        ({"records": {"x": {}}}, "records: unknown key 'x'"),
        ({"records": {ACME: {"crm/leads": []}}}, "unknown key 'crm/leads'; known are crm/accounts, crm/contacts"),
        ({"records": {ACME: {"crm/fields": [{"id": "7", "websites": "x"}]}}}, "unknown key 'websites'"),
        (changed(("integrations", "hubspot", "resources"), ["crm/leads"]), "there is no resource 'crm/leads'"),
        (changed(("integrations", "hubspot", "required"), ["phone_numbers.nmber"]), "a field 'phone_numbers.nmber'"),
        (changed(("integrations", "hubspot", "unmapped"), ["phone_numbers.number"]), "no resource has a field"),
        (changed(("integrations", "hubspot", "id_in_body"), "true"), "id_in_body: must be true or false"),
        (changed(("integrations", "hubspot", "normalizes"), 1), "normalizes: must be true or false"),
        ({"logs": {}}, "logs: must be a list"),
        (
            {"logs": [{"log_type": "x", "timestamp": "2024-01-01"}]},
            r"logs\[0\]: log_type is one of unified_proxy_api",
        ),
        ({"logs": [{"log_type": "mcp", "timestamp": "soon"}]}, r"logs\[0\]: timestamp is not an ISO 8601 time"),
        ({"logs": [{"log_type": "mcp", "timestamp": "2024-01-01", "stauts": "x"}]}, "unknown key 'stauts'"),
        ({"records": {ACME: {"crm/accounts": [{"id": 7}]}}}, "needs 'id'"),
        ({"records": {ACME: {"crm/accounts": [{"id": "7", "nme": "x"}]}}}, "unknown key 'nme'"),
        ({"records": []}, "records: must be an object"),
        ({"limits": {"tokens": {}}}, "unknown key 'tokens'"),
        ({"limits": {"token": {"request": 1}}}, "unknown key 'request'"),
        ({"limits": {"token": {"requests": 0}}}, "positive"),
        ({"limits": {"token": {"seconds": "1"}}}, "positive"),
    ],
)
def test_a_seed_that_makes_no_sense_is_an_error_that_says_where(seed, message):
    with pytest.raises(SeedError, match=message):
        Emulator(seed)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "must be an object"), (None, "cannot read")]
)
def test_a_file_that_makes_no_sense_is_an_error(tmp_path, text, message):
    path = tmp_path / "seed.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(SeedError, match=message):
        Emulator(path)


def test_limits_given_to_the_emulator_are_checked_too():
    with pytest.raises(SeedError, match="unknown key 'accounts'"):
        Emulator(rate_limits={"accounts": {}})
