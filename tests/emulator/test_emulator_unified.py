"""`/unified/crm/accounts`: what is read, written and answered."""

import json
from urllib.parse import quote

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.emulator import ACME, GLOBEX, INITECH, default_seed
from airflow_provider_truto.emulator.state.resources import CRM_ACCOUNTS

ACCOUNTS = "/unified/crm/accounts"
NORTHWIND = f"{ACCOUNTS}/23423523"
FIELDS = st.sampled_from(
    ["remote_data", "properties", "id", "number", *(field.name for field in CRM_ACCOUNTS.fields)]
)


def seed_with(**integration):
    seed = default_seed()
    seed["integrations"]["hubspot"].update(integration)
    return seed


def test_a_record_is_the_bare_object_with_the_documented_keys(truto):
    record = truto.get(NORTHWIND).json()
    assert set(record) == {
        *("id", "addresses", "created_at", "custom_fields", "description", "industry", "last_activity_at", "name"),
        *("number_of_employees", "owner", "phone_numbers", "remote_data", "tags", "updated_at", "urls", "website"),
    }
    assert record["id"] == "23423523"


def test_the_list_has_the_envelope_of_data(truto):
    response = truto.get(ACCOUNTS)
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert [record["id"] for record in body.pop("result")] == ["23423523", "23423524", "23423525"]
    assert body == {"next_cursor": None, "prev_cursor": None, "result_count": 3, "is_partial_response": False}


def test_a_list_is_paged_by_limit_and_cursor(truto):
    first = truto.get(ACCOUNTS, params={"limit": 2}).json()
    second = truto.get(ACCOUNTS, params={"limit": 2, "next_cursor": first["next_cursor"]}).json()
    assert [len(page["result"]) for page in (first, second)] == [2, 1]
    assert second["next_cursor"] is None


def test_a_page_that_ends_with_the_list_has_no_next_one(truto):
    assert truto.get(ACCOUNTS, params={"limit": 3}).json()["next_cursor"] is None


def test_a_list_keyed_by_a_field_is_an_object(truto):
    result = truto.get(ACCOUNTS, params={"truto_key_by": "name"}).json()["result"]
    assert set(result) == {"Northwind Traders", "Contoso", "Café Fourrière"}


def test_unsupported_filters_are_ignored(truto):
    assert truto.get(ACCOUNTS, params={"colour": "red"}).json()["result_count"] == 3


def test_the_customers_do_not_see_each_other(truto):
    assert truto.get(NORTHWIND, account=GLOBEX).status_code == 404
    assert truto.get(f"{ACCOUNTS}/70010001", account=GLOBEX).status_code == 200


def test_a_patch_changes_only_what_it_names(truto):
    before = truto.get(NORTHWIND).json()
    answer = truto.patch(NORTHWIND, json={"name": "Northwind", "number_of_employees": 121}).json()
    assert truto.get(NORTHWIND).json() == answer
    changed = {key for key in before if before[key] != answer[key]}
    assert changed == {"name", "number_of_employees", "updated_at", "remote_data"}
    assert answer["updated_at"] > before["updated_at"]


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"tags": [{"name": "new"}]}, "tags", [{"name": "new"}]),
        ({"addresses": []}, "addresses", []),
        ({"description": None}, "description", None),
        ({"addresses": None}, "addresses", None),
        ({"description": ""}, "description", ""),
        ({"number_of_employees": 0}, "number_of_employees", 0),
        ({"owner": {"id": "u-99"}}, "owner", {"id": "u-99"}),
        ({"custom_fields": {"tier": "silver"}}, "custom_fields", {"tier": "silver", "renewal_month": 9}),
        ({"custom_fields": {"tier": None, "x": [1]}}, "custom_fields", {"tier": None, "renewal_month": 9, "x": [1]}),
        ({"custom_fields": None}, "custom_fields", None),
        ({"custom_fields": {}}, "custom_fields", {"tier": "gold", "renewal_month": 9}),
        ({"created_at": "2020-01-01T00:00:00+00:00"}, "created_at", "2020-01-01T00:00:00+00:00"),
        ({"phone_numbers": [{"number": "+1 555 0100"}]}, "phone_numbers", [{"number": "+1 555 0100"}]),
        ({"name": "\ud800 é \u2028"}, "name", "\ud800 é \u2028"),
        ({"id": "1"}, "id", "23423523"),
    ],
)
def test_a_value_is_stored_as_the_crm_does_it(truto, body, field, expected):
    response = truto.patch(NORTHWIND, data=json.dumps(body))
    assert response.status_code == 200
    assert response.json()[field] == expected
    assert truto.get(NORTHWIND).json()[field] == expected


@pytest.mark.parametrize(
    "body", [{"last_activity_at": "x"}, {"remote_data": {"properties": {"lastActivityAt": "x"}}}]
)
def test_what_the_crm_keeps_to_itself_cannot_be_written(truto, body):
    assert truto.patch(NORTHWIND, json=body).json()["last_activity_at"] == "2024-05-28T15:20:00.000Z"


def test_updated_at_cannot_be_written(truto):
    assert truto.patch(NORTHWIND, json={"updated_at": "1999-01-01T00:00:00Z"}).json()["updated_at"] > "2024"


def test_an_unknown_key_disappears_without_a_word(truto):
    response = truto.patch(NORTHWIND, json={"websiet": "https://typo.example", "name": "N"})
    assert response.status_code == 200
    assert "typo" not in response.text


def test_an_unmapped_field_is_neither_written_nor_read(another):
    truto = another(seed_with(unmapped=["website"]))
    answer = truto.patch(NORTHWIND, json={"website": "https://new.example", "name": "N"})
    assert answer.json()["name"] == "N"
    assert "website" not in answer.json()
    assert answer.json()["remote_data"]["properties"]["website"] == "https://northwind.example"


def test_the_default_seed_has_a_crm_without_urls(truto):
    answer = truto.patch(f"{ACCOUNTS}/70010001", account=GLOBEX, json={"urls": [{"url": "https://x.example"}]})
    assert answer.status_code == 200
    assert "x.example" not in answer.text


def test_remote_data_goes_to_the_providers_record_as_it_is(truto):
    answer = truto.patch(NORTHWIND, json={"remote_data": {"AnyProviderKey": {"a": 1}}}).json()
    assert answer["remote_data"]["AnyProviderKey"] == {"a": 1}
    assert truto.get(NORTHWIND).json()["remote_data"]["AnyProviderKey"] == {"a": 1}


def test_remote_data_reaches_the_providers_own_properties(truto):
    remote_data = {"properties": {"about": "by the back door", "own": 1, "updatedAt": "x"}, "id": "9"}
    answer = truto.patch(NORTHWIND, json={"remote_data": remote_data}).json()
    assert answer["description"] == "by the back door"
    assert answer["name"] == "Northwind Traders"
    assert answer["remote_data"]["properties"]["own"] == 1
    assert answer["id"] == answer["remote_data"]["id"] == "23423523"
    assert answer["updated_at"] != "x"


def test_a_normalising_crm_rewrites_what_it_stores(another):
    truto = another(seed_with(normalizes=True))
    body = {
        "phone_numbers": [{"number": "+1 (555) 010-0", "type": "work"}, {"number": "none"}, "odd"],
        "addresses": [{"city": "Pune"}, {"id": "mine", "city": "Delhi"}],
        "tags": [{"name": "vip"}],
        "created_at": "2021-08-10T12:00:00+02:00",
    }
    answer = truto.patch(NORTHWIND, json=body).json()
    assert answer["phone_numbers"] == [{"number": "+15550100", "type": "work"}, {"number": "none"}, "odd"]
    assert answer["addresses"] == [{"id": "1", "city": "Pune"}, {"id": "mine", "city": "Delhi"}]
    assert answer["tags"] == [{"id": "1", "name": "vip"}]
    assert answer["created_at"] == "2021-08-10T10:00:00.000Z"
    assert truto.emulator.executions[0]["body"] == body


def test_a_normalising_crm_leaves_what_it_does_not_understand(another):
    truto = another(seed_with(normalizes=True))
    assert truto.patch(NORTHWIND, json={"created_at": "yesterday"}).json()["created_at"] == "yesterday"


def test_the_four_formats_answer_in_four_shapes(truto):
    shapes = {
        shape: truto.get(NORTHWIND, params={"truto_response_format": shape})
        for shape in ("unified", "raw", "normalized", "stream")
    }
    unified, raw, normalized, stream = (response.json() for response in shapes.values())
    assert unified == truto.get(NORTHWIND).json()
    assert set(raw) == {"id", "properties"}
    assert raw["properties"]["employeeCount"] == unified["number_of_employees"]
    assert raw == unified["remote_data"]
    assert unified["phone_numbers"][0]["number"] == "+1 206 555 0100"
    assert normalized["phone_numbers"][0]["number"] == "+12065550100"
    assert normalized["remote_data"] == raw
    assert stream == raw
    assert shapes["stream"].headers["content-type"] == "application/json;charset=utf-8"
    assert shapes["stream"].headers["transfer-encoding"] == "chunked"
    assert "content-length" not in shapes["stream"].headers


def test_a_stream_comes_in_pieces(truto):
    truto.patch(NORTHWIND, json={"description": "x" * 5000})
    with truto.get(NORTHWIND, params={"truto_response_format": "stream"}, stream=True) as response:
        pieces = list(response.raw.read_chunked())
    assert len(pieces) > 5
    assert json.loads(b"".join(pieces))["id"] == "23423523"


def test_a_list_has_the_formats_too(truto):
    (raw, *_) = truto.get(ACCOUNTS, params={"truto_response_format": "raw"}).json()["result"]
    assert set(raw) == {"id", "properties"}
    assert truto.get(ACCOUNTS, params={"truto_response_format": "stream"}).json()[0] == raw


@pytest.mark.parametrize(("value", "is_dropped"), [("true", True), ("false", False), ("", False)])
def test_remote_data_can_be_left_out_of_the_answer(truto, value, is_dropped):
    answer = truto.patch(NORTHWIND, json={"name": "N"}, params={"truto_ignore_remote_data": value}).json()
    assert ("remote_data" not in answer) is is_dropped


@pytest.mark.parametrize(
    "params",
    [
        [("truto_exclude_fields[]", "id"), ("truto_exclude_fields[]", "name")],
        [("truto_exclude_fields[0]", "id"), ("truto_exclude_fields[1]", "name")],
        [("truto_exclude_fields", "id"), ("truto_exclude_fields", "name")],
        [("truto_exclude_fields[30]", "id"), ("truto_exclude_fields[31]", "name")],
    ],
)
def test_fields_are_excluded_in_every_form_of_a_list(truto, params):
    answer = truto.get(NORTHWIND, params=params).json()
    assert not {"id", "name"} & set(answer)
    assert "website" in answer


@pytest.mark.parametrize("value", ["id,name", "nothing"])
def test_what_is_not_a_field_excludes_nothing(truto, value):
    assert truto.get(NORTHWIND, params={"truto_exclude_fields": value}).json()["id"] == "23423523"


def test_a_create_answers_with_the_new_record(truto, emulator):
    answer = truto.call("POST", ACCOUNTS, json={"name": "New", "website": "https://new.example", "id": "7"})
    record = answer.json()
    assert answer.status_code == 200
    assert record["id"] not in ("7", "23423523")
    assert record["created_at"]
    assert truto.get(f"{ACCOUNTS}/{record['id']}").json() == record
    assert emulator.executions[0]["record_id"] == record["id"]
    assert truto.get(ACCOUNTS).json()["result_count"] == 4


def test_a_delete_answers_with_the_id(truto):
    assert truto.call("DELETE", NORTHWIND).json() == {"id": "23423523"}
    assert truto.get(NORTHWIND).status_code == 404
    assert truto.call("DELETE", NORTHWIND).status_code == 404


def test_the_remote_query_is_what_went_to_the_provider(truto, emulator):
    truto.patch(
        NORTHWIND,
        json={"name": "N"},
        key="k-1",
        params=[("remote_query[foo]", "bar"), ("remote_query[list][]", "1"), ("remote_query[list][]", "2")],
    )
    (execution,) = emulator.executions
    time = execution.pop("time")
    assert isinstance(time, float)
    assert execution == {
        "method": "PATCH",
        "path": ["unified", "crm", "accounts", "23423523"],
        "integrated_account_id": ACME,
        "record_id": "23423523",
        "body": {"name": "N"},
        "idempotency_key": "k-1",
        "remote_query": {"foo": "bar", "list": ["1", "2"]},
    }


@pytest.mark.parametrize("record_id", ["a/b?c#d", "../users", "%2F", "é", "a b", "a+b", ".", "::", "日本"])
def test_a_record_id_is_one_segment_however_it_is_spelled(another, record_id):
    seed = default_seed()
    seed["records"] = {ACME: {"crm/accounts": [{"id": record_id, "name": "Odd"}]}}
    truto = another(seed)
    target = f"{ACCOUNTS}/{quote(record_id, safe='')}?integrated_account_id={ACME}"
    answer = truto.raw("PATCH", target.replace("/.?", "/%2E?"), body=b'{"name": "Found"}')
    assert answer.status_code == 200
    assert answer.json()["id"] == record_id
    assert truto.emulator.requests[-1]["path"] == ["unified", "crm", "accounts", record_id]
    assert truto.emulator.executions[-1]["record_id"] == record_id


@pytest.mark.parametrize(
    "path", ["/unified/crm/accounts/a/b", "/unified/crm/accounts/../users", "/unified/crm/accounts/", "/unified/crm"]
)
def test_an_id_that_was_not_escaped_finds_no_route(truto, path):
    assert truto.raw("PATCH", f"{path}?integrated_account_id={ACME}", body=b"{}").status_code == 404


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9) | FIELDS, inner, max_size=3),
    max_leaves=8,
)


@given(body=st.dictionaries(FIELDS, ANY_JSON, max_size=5))
def test_whatever_is_sent_is_stored_or_refused(running_emulator, body):
    response = requests.patch(
        f"{running_emulator.url}/unified/crm/accounts/70010001?integrated_account_id={GLOBEX}",
        data=json.dumps(body),
        headers={"Authorization": f"Bearer {running_emulator.token}"},
        timeout=10,
    )
    assert response.status_code in (200, 400, 422)
    assert response.json()


def test_a_sandbox_can_be_read(truto):
    assert truto.get(f"{ACCOUNTS}/501", account=INITECH).json()["name"] == "Initrode"
    assert truto.get(ACCOUNTS, account=INITECH).json()["result_count"] == 1
