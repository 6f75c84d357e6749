"""Refusals of Truto and errors of providers, in the words of the API."""

import pytest

from airflow_provider_truto.emulator import ACME, HOOLI, INITECH, UMBRELLA, default_seed

ACCOUNTS = "/unified/crm/accounts"
NORTHWIND = f"{ACCOUNTS}/23423523"


def assert_refused(response, status, error):
    body = response.json()
    assert (response.status_code, body["statusCode"], body["error"]) == (status, status, error)
    assert body["message"]
    assert set(body) <= {"statusCode", "error", "message", "truto_error_insight"}
    return body


def assert_remote(response, status, error):
    body = response.json()
    assert (response.status_code, body["statusCode"], body["error"]) == (status, status, error)
    assert set(body) == {
        *("statusCode", "error", "message", "truto_is_remote_error", "raw_response", "truto_error_insight")
    }
    assert body["truto_is_remote_error"] is True
    assert body["truto_error_insight"]["remote_error"]["description"]
    return body


@pytest.mark.parametrize(
    "path", [NORTHWIND, ACCOUNTS, "/integrated-account", f"/integrated-account/{ACME}", "/nowhere"]
)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Basic dHJ1dG8=",
        "Basic truto-emulator-token",
        "truto-emulator-token",
        "Bearer  x y",
    ],
)
def test_a_call_without_a_known_token_is_a_401_of_truto(truto, path, authorization):
    headers = {"Authorization": authorization}
    assert_refused(truto.get(path, headers=headers), 401, "Unauthorized")


def test_the_scheme_of_a_token_may_be_written_small(truto, emulator):
    assert truto.get(headers={"Authorization": f"bearer {emulator.token}"}).status_code == 200


def test_a_token_expires(truto, emulator):
    emulator.state.add_token("old", expires_at="2020-01-01T00:00:00Z")
    emulator.state.add_token("young", expires_at="2999-01-01T00:00:00Z")
    assert truto.get(headers={"Authorization": "Bearer old"}).status_code == 401
    assert truto.get(headers={"Authorization": "Bearer young"}).status_code == 200


def test_a_token_is_rotated_while_the_emulator_runs(truto, emulator):
    emulator.state.add_token("next")
    assert emulator.state.revoke_token(emulator.token) is True
    assert emulator.state.revoke_token(emulator.token) is False
    assert_refused(truto.get(), 401, "Unauthorized")
    assert truto.get(headers={"Authorization": "Bearer next"}).status_code == 200
    emulator.reset()
    assert truto.get().status_code == 200


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_missing_account_id_is_named(truto, method):
    body = assert_refused(truto.call(method, NORTHWIND, account=None, json={}), 400, "Bad Request")
    insight = body["truto_error_insight"]["missing_required_query_parameters"]
    assert insight["value"] == ["integrated_account_id"]
    assert insight["description"]


def test_an_empty_account_id_is_a_missing_one(truto):
    params = {"integrated_account_id": ""}
    assert_refused(truto.get(NORTHWIND, account=None, params=params), 400, "Bad Request")


@pytest.mark.parametrize("account", ["00000000-0000-4000-8000-00000000dead", "x", "23423523"])
def test_an_unknown_account_is_a_404_of_truto(truto, account):
    assert_refused(truto.patch(account=account, json={"name": "N"}), 404, "Not Found")


def test_two_account_ids_are_not_an_account_id(truto):
    assert_refused(truto.get(params={"integrated_account_id": INITECH}), 404, "Not Found")


@pytest.mark.parametrize("value", ["", "xml", "RAW"])
def test_an_unknown_response_format_is_refused(truto, emulator, value):
    assert_refused(truto.patch(json={"name": "N"}, params={"truto_response_format": value}), 400, "Bad Request")
    assert emulator.executions == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b"[]", b'"text"', b"1", b"null", b'{"a": NaN}', b"\xff\xfe\xfd", b"[" * 100_000]
)
def test_a_body_that_is_not_a_json_object_is_refused(truto, emulator, body):
    assert_refused(truto.patch(data=body), 400, "Bad Request")
    assert_refused(truto.call("POST", ACCOUNTS, data=body), 400, "Bad Request")
    assert emulator.executions == []


def test_remote_data_that_is_not_an_object_is_refused(truto):
    assert_refused(truto.patch(json={"remote_data": "x"}), 400, "Bad Request")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/unified"),
        ("GET", "/unified/crm/accounts/1/2/3"),
        ("GET", "/unified/crm/leads"),
        ("PATCH", "/unified/hris/accounts/1"),
        ("POST", "/unified/crm/accounts/search"),
        ("GET", "/proxy/accounts"),
        ("GET", "/proxy"),
        ("GET", "/proxy/companies/"),
        ("GET", "/custom"),
        ("GET", "/custom/"),
        ("POST", "/proxy/companies/search"),
        ("GET", "/integration/hubspot"),
        ("GET", "/integrated-account/"),
    ],
)
def test_an_unknown_route_is_a_404_of_truto(truto, method, path):
    assert_refused(truto.call(method, path), 404, "Not Found")


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", NORTHWIND), ("PATCH", ACCOUNTS), ("DELETE", ACCOUNTS), ("OPTIONS", NORTHWIND)]
)
def test_a_wrong_verb_is_a_405_of_truto(truto, method, path):
    assert_refused(truto.call(method, path), 405, "Method Not Allowed")


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", f"{ACCOUNTS}/501"), ("DELETE", f"{ACCOUNTS}/501"), ("POST", ACCOUNTS)]
)
def test_a_sandbox_is_not_written(truto, emulator, method, path):
    assert_refused(truto.call(method, path, account=INITECH, json={"name": "N"}), 405, "Method Not Allowed")
    assert emulator.executions == []


@pytest.mark.parametrize(("method", "path"), [("GET", ACCOUNTS), ("PATCH", f"{ACCOUNTS}/lead-1")])
def test_a_blocked_account_is_a_503_of_truto(truto, emulator, method, path):
    response = truto.call(method, path, account=HOOLI, json={"name": "N"})
    assert_refused(response, 503, "Service Unavailable")
    assert "retry-after" not in response.headers
    assert emulator.executions == []


@pytest.mark.parametrize(("method", "path"), [("GET", ACCOUNTS), ("PATCH", f"{ACCOUNTS}/9001")])
def test_an_account_without_credentials_is_a_401_of_the_provider(truto, method, path):
    assert_remote(truto.call(method, path, account=UMBRELLA, json={"name": "N"}), 401, "Unauthorized")


def test_a_401_of_the_provider_lasts_until_the_user_reconnects(truto, emulator):
    body = {"statusCode": 401, "error": "Unauthorized", "message": "x", "truto_is_remote_error": True}
    emulator.fault(status=401, body=body, method="PATCH")
    assert truto.patch(json={"name": "N"}).json() == body
    record = truto.get(f"/integrated-account/{ACME}").json()
    assert record["status"] == "needs_reauth"
    assert record["last_error"]
    assert_remote(truto.get(), 401, "Unauthorized")
    emulator.reset()
    assert truto.get().status_code == 200


@pytest.mark.parametrize("spec", [{}, {"body": {"statusCode": 401, "error": "Unauthorized", "message": "x"}}])
def test_a_401_of_truto_leaves_the_account_alone(truto, emulator, spec):
    emulator.fault(status=401, **spec)
    assert_refused(truto.patch(json={"name": "N"}), 401, "Unauthorized")
    assert truto.get(f"/integrated-account/{ACME}").json()["status"] == "active"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_record_is_a_404_of_the_provider(truto, emulator, method):
    body = assert_remote(truto.call(method, f"{ACCOUNTS}/nobody", json={"name": "N"}), 404, "Not Found")
    assert body["raw_response"] == {"errors": [{"code": "not_found", "id": "nobody"}]}
    assert [execution["record_id"] for execution in emulator.executions] == ["nobody"]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"name": ""}, "name", "required"),
        ({"name": "  "}, "name", "required"),
        ({"name": None}, "name", "required"),
        ({"name": 7}, "name", "invalid"),
        ({"custom_fields": '{"tier": "gold"}'}, "customProperties", "invalid"),
        ({"number_of_employees": "120"}, "employeeCount", "invalid"),
        ({"number_of_employees": True}, "employeeCount", "invalid"),
        ({"addresses": {"city": "Pune"}}, "addresses", "invalid"),
        ({"remote_data": {"properties": "text"}}, "properties", "invalid"),
    ],
)
def test_what_the_crm_does_not_take_is_its_422(truto, body, field, code):
    before = truto.get().json()
    answer = assert_remote(
        truto.patch(json={"website": "https://changed.example", **body}), 422, "Unprocessable Entity"
    )
    assert answer["raw_response"] == {"errors": [{"code": code, "field": field}]}
    assert truto.get().json() == before


@pytest.mark.parametrize(("field", "value"), [("website", "https://contoso.example"), ("name", "Contoso")])
def test_a_value_that_must_be_unique_is_a_409_of_the_provider(another, field, value):
    seed = default_seed()
    seed["integrations"]["hubspot"]["unique"] = ["website", "name"]
    truto = another(seed)
    answer = assert_remote(truto.patch(json={field: value}), 409, "Conflict")
    assert answer["raw_response"]["errors"][0]["code"] == "duplicate"
    assert_remote(truto.call("POST", ACCOUNTS, json={"name": "N", field: value}), 409, "Conflict")
    assert truto.patch(json={"website": "https://northwind.example"}).status_code == 200
    assert truto.patch(json={"website": None}).status_code == 200
    assert truto.patch(f"{ACCOUNTS}/23423525", json={"website": None}).status_code == 200


def test_without_a_unique_field_values_may_be_equal(truto):
    assert truto.patch(json={"website": "https://contoso.example"}).status_code == 200


def test_a_create_without_a_name_is_refused_by_truto(truto, emulator):
    body = assert_refused(truto.call("POST", ACCOUNTS, json={"website": "https://x.example"}), 400, "Bad Request")
    assert body["truto_error_insight"]["missing_required_body_fields"]["value"] == ["name"]
    assert emulator.executions == []


def test_a_failing_emulator_says_so_as_truto_would(truto, emulator, caplog):
    emulator.state.records[ACME]["crm/accounts"]["23423523"] = None
    assert_refused(truto.get(), 500, "Internal Server Error")
    assert "Traceback" in caplog.text
