"""Previews: what an update would change in the record as it is now."""

from __future__ import annotations

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.records.diff import Change, hash_preview, list_changes, select_differing
from airflow_provider_truto.records.request import build_account_update
from airflow_provider_truto.records.verify import verify

RECORD = {
    "id": "1",
    "name": "Acme",
    "website": "https://acme.test",
    "number_of_employees": 120,
    "created_at": "2026-01-31T12:00:00.000Z",
    "owner": {"id": "u1", "name": "Ann"},
    "phone_numbers": [
        {"id": "p1", "number": "+12065550100", "type": "work"},
        {"id": "p2", "number": "+12065550111", "type": "mobile"},
    ],
    "tags": [{"id": "t1", "name": "vip"}],
    "custom_fields": {
        "tier": "gold",
        "score": "87",
        "churned": False,
        "langs": ["en", "de"],
        "deep": {"a": 1, "b": 2},
    },
    "description": None,
    "updated_at": "2026-02-01T00:00:00.000Z",
}
PATH = "/unified/crm/accounts/1"
ACCOUNT = "acae0000-0000-4000-8000-000000000001"


def pointers(body, record=RECORD):
    return [change.pointer for change in list_changes(body, record)]


def hashed(body, record=RECORD, *, path=PATH, account=ACCOUNT):
    return hash_preview(path=path, integrated_account_id=account, body=body, record=record)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "Acme"},
        {"name": " Acme\n"},
        {"number_of_employees": 120},
        {"number_of_employees": 120.0},
        # the same in another form
        {"created_at": "2026-01-31T12:00:00Z"},
        {"created_at": "2026-01-31T17:30:00+05:30"},
        {"phone_numbers": [{"number": "+1 (206) 555-0100"}, {"number": "1.206.555.0111"}]},
        # objects by the keys that are given
        {"owner": {"id": "u1"}},
        {"custom_fields": {"tier": "gold"}},
        {"custom_fields": {"deep": {"b": 2}}},
        # a number or boolean as text
        {"custom_fields": {"score": 87}},
        {"custom_fields": {"churned": "False"}},
        # lists of objects in any order, without what the CRM added
        {"tags": [{"name": "vip"}]},
        {"custom_fields": {"langs": ["en", "de"]}},
        {"phone_numbers": [{"type": "mobile", "number": "+1 206 555 0111"}, {"type": "work"}]},
        # nothing for nothing
        {"description": None},
        {"description": ""},
        {"urls": []},
        {"urls": None},
        {"addresses": [], "industry": ""},
        {"custom_fields": {"absent": None, "deep": {"c": []}}},
        {"absent": {"key": None, "deep": {"key": ""}}},
        {"absent": {}},
    ],
)
def test_what_means_the_same_is_not_a_change(body):
    assert list_changes(body, RECORD) == ()
    assert select_differing(body, RECORD) == {}


@pytest.mark.parametrize(
    ("body", "pointer", "before", "after"),
    [
        ({"name": "Northwind"}, "/name", "Acme", "Northwind"),
        ({"name": "ACME"}, "/name", "Acme", "ACME"),
        ({"name": "A cme"}, "/name", "Acme", "A cme"),
        ({"name": None}, "/name", "Acme", None),
        ({"name": ""}, "/name", "Acme", ""),
        ({"name": ["Acme"]}, "/name", "Acme", ["Acme"]),
        ({"number_of_employees": 0}, "/number_of_employees", 120, 0),
        ({"number_of_employees": 121}, "/number_of_employees", 120, 121),
        ({"website": "https://acme.test/Blog"}, "/website", "https://acme.test", "https://acme.test/Blog"),
        ({"created_at": "2026-01-31T12:00:01Z"}, "/created_at", RECORD["created_at"], "2026-01-31T12:00:01Z"),
        ({"industry": "Software"}, "/industry", None, "Software"),
        ({"owner": {"id": "u2"}}, "/owner/id", "u1", "u2"),
        ({"owner": {}}, "/owner", RECORD["owner"], {}),
        ({"owner": "u1"}, "/owner", RECORD["owner"], "u1"),
        ({"website": {"url": "x"}}, "/website", "https://acme.test", {"url": "x"}),
        ({"custom_fields": {"churned": True}}, "/custom_fields/churned", False, True),
        ({"custom_fields": {"churned": 0}}, "/custom_fields/churned", False, 0),
        ({"custom_fields": {"score": "087"}}, "/custom_fields/score", "87", "087"),
        ({"custom_fields": {"new": 0}}, "/custom_fields/new", None, 0),
        ({"custom_fields": {"deep": {"a": 1, "b": 3}}}, "/custom_fields/deep/b", 2, 3),
        ({"custom_fields": {"a/b~c": 1}}, "/custom_fields/a~1b~0c", None, 1),
        ({"absent": {"deep": {"key": 1}}}, "/absent/deep/key", None, 1),
        # lists as wholes
        ({"tags": []}, "/tags", RECORD["tags"], []),
        ({"tags": [{"name": "VIP"}]}, "/tags", RECORD["tags"], [{"name": "VIP"}]),
        ({"tags": [{"name": "vip"}] * 2}, "/tags", RECORD["tags"], [{"name": "vip"}] * 2),
        ({"tags": [{"name": "vip", "id": "t2"}]}, "/tags", RECORD["tags"], [{"name": "vip", "id": "t2"}]),
        ({"tags": [{}]}, "/tags", RECORD["tags"], [{}]),
        ({"tags": ["vip"]}, "/tags", RECORD["tags"], ["vip"]),
        (
            {"phone_numbers": [{"number": "+12065550100"}]},
            "/phone_numbers",
            RECORD["phone_numbers"],
            [{"number": "+12065550100"}],
        ),
        (
            {"phone_numbers": [{"type": "work"}] * 2},
            "/phone_numbers",
            RECORD["phone_numbers"],
            [{"type": "work"}] * 2,
        ),
        ({"custom_fields": {"langs": ["en"]}}, "/custom_fields/langs", ["en", "de"], ["en"]),
        ({"custom_fields": {"langs": ["en", "en"]}}, "/custom_fields/langs", ["en", "de"], ["en", "en"]),
        ({"custom_fields": {"langs": ["en", "de", "fr"]}}, "/custom_fields/langs", ["en", "de"], ["en", "de", "fr"]),
        ({"urls": [{"url": "x"}]}, "/urls", None, [{"url": "x"}]),
    ],
)
def test_another_value_is_a_change_with_its_pointer_before_and_after(body, pointer, before, after):
    assert list_changes(body, RECORD) == (Change(pointer, before, after),)
    assert select_differing({**body, "id": "1"}, RECORD) == body


def test_a_longer_list_in_the_crm_is_confirmed_after_a_write_but_a_change_before_it():
    body, record = {"tags": [{"name": "a"}]}, {"tags": [{"name": "a"}, {"name": "b"}]}
    assert verify(build_account_update("1", body), record).changed == ("/tags",)
    assert pointers(body, record) == ["/tags"]


def test_case_is_the_crms_own_affair_after_a_write_but_a_change_before_it():
    assert verify(build_account_update("1", {"name": "ACME"}), RECORD).changed == ("/name",)
    assert pointers({"name": "ACME"}) == ["/name"]


@pytest.mark.parametrize(
    "body",
    [
        {"website": "acme.test"},
        {"website": "http://www.acme.test/"},
        {"phone_numbers": [{"number": "206 555 0100"}, {"number": "206 555 0111"}]},
        {"custom_fields": {"langs": ["de", "en"]}},
    ],
)
def test_a_correction_is_a_change_although_verification_would_let_it_pass(body):
    assert pointers(body)


@pytest.mark.parametrize(
    ("asked", "now", "is_same"),
    [
        # each item of the CRM's serves one that is asked, and the vague ones give way
        ([{"a": 1}, {"a": 1, "b": 2}], [{"a": 1, "b": 2}, {"a": 1}], True),
        ([{"a": 1}, {"b": 2}, {"c": 3}], [{"a": 1, "c": 3}, {"a": 1, "b": 2}, {"b": 2}], True),
        ([{"a": 1}, {"b": 2}, {"c": 3}], [{"a": 1, "c": 3}, {"b": 2, "d": 1}, {"d": 3}], False),
        ([{"a": 1}, {"a": 1}], [{"a": 1}, {"a": 2}], False),
        ([1, "2", True], [1, 2, "true"], True),
        ([1, "2", True], ["true", 1, 2], False),
        ([1, 2, 2], [1, 1, 2], False),
        ([[1, 2], [3]], [[1, 2], [3]], True),
        ([[1, 2], [3]], [[3], [1, 2]], False),
        ([{"a": [{"b": 1}]}], [{"a": [{"b": 1, "id": 5}], "id": 7}], True),
        ([{"a": [{"b": 1}]}], [{"a": [{"b": 1}, {"b": 2}]}], False),
        ([{"a": None}], [{"b": 1}], True),
        ([None], [None], True),
        ([None], [0], False),
        (["Ä"], ["ä"], False),
    ],
)
def test_lists_are_the_same_where_each_item_has_one_of_its_own(asked, now, is_same):
    assert (pointers({"x": asked}, {"x": now}) == []) is is_same


def test_a_long_list_is_compared_in_its_own_order_only():
    def items(count):
        return [{"k": str(place)} for place in range(count)]

    assert pointers({"x": items(200)}, {"x": items(200)[::-1]}) == []
    assert pointers({"x": items(201)}, {"x": items(201)[::-1]}) == ["/x"]
    assert pointers({"x": items(5_000)}, {"x": [{**item, "id": 1} for item in items(5_000)]}) == []
    assert pointers({"x": [*items(5_000), {"k": "a"}]}, {"x": items(5_001)}) == ["/x"]


def test_items_give_way_through_the_whole_list():
    # Item n fits places n and n + 1, the last one only the first place: all must move.
    asked = [{f"k{place}": 1} for place in range(150)]
    now = [{"k149": 1, "k0": 1}, *({f"k{place - 1}": 1, f"k{place}": 1} for place in range(1, 149)), {"k148": 1}]
    assert pointers({"x": asked}, {"x": now}) == []
    assert pointers({"x": asked}, {"x": [*now[:-1], {"z": 1}]}) == ["/x"]


@pytest.mark.parametrize("remote_data", [{}, {"a": 1}, None])
def test_remote_data_is_always_a_change_from_the_unknown(remote_data):
    record = {**RECORD, "remote_data": remote_data}
    body = {"name": "Acme", "remote_data": remote_data}
    assert list_changes(body, record) == (Change("/remote_data", None, remote_data),)
    assert select_differing(body, record) == {"remote_data": remote_data}


def test_remote_data_deeper_down_is_a_field_like_any_other():
    assert pointers({"custom_fields": {"remote_data": 1}}, {"custom_fields": {"remote_data": 1}}) == []


def test_changes_come_field_by_field_in_the_order_of_the_body():
    body = {"website": "x.test", "name": "Acme", "custom_fields": {"score": 1, "tier": "gold", "churned": True}}
    assert pointers(body) == ["/website", "/custom_fields/score", "/custom_fields/churned"]


def test_a_field_that_differs_in_one_key_is_sent_whole():
    body = {"name": "Acme", "custom_fields": {"tier": "gold", "score": 1}, "owner": {"id": "u1"}}
    assert select_differing(body, RECORD) == {"custom_fields": {"tier": "gold", "score": 1}}


BODY = {"name": "Northwind", "custom_fields": {"tier": "silver", "new": 1}, "tags": [{"name": "a"}], "urls": []}


def changed(**fields):
    return {**copy.deepcopy(RECORD), **fields}


def with_custom(**fields):
    return changed(custom_fields={**RECORD["custom_fields"], **fields})


def test_a_hash_has_a_version_and_one_form():
    assert re.fullmatch("p1-[0-9a-f]{64}", hashed(BODY))
    assert hashed(BODY) == hashed(BODY)


def test_the_hash_of_a_preview_stays_from_release_to_release():
    assert hashed({"name": "é"}, {"name": None}, path="/p", account="a") == (
        "p1-672dfd809c61c46fdac547b3a756112f038de7e7a287c3fc473cd80fdd5cdfd0"
    )


@pytest.mark.parametrize(
    "record",
    [
        changed(updated_at="2027-01-01T00:00:00.000Z"),
        changed(id="2", website="other.test", last_activity_at="x", remote_data={"a": 1}),
        with_custom(score="88", more=1),
        {name: RECORD[name] for name in ("name", "custom_fields", "tags")},
        dict(reversed(RECORD.items())),
        changed(custom_fields=dict(reversed(RECORD["custom_fields"].items()))),
        changed(urls=None),
        with_custom(new=None),
    ],
)
def test_a_hash_stays_whatever_changes_beside_the_fields_of_the_body(record):
    assert hashed(BODY, record) == hashed(BODY)


@pytest.mark.parametrize(
    "record",
    [
        changed(name="Acme Inc"),
        changed(name="acme"),
        changed(name=None),
        changed(tags=[*RECORD["tags"], {"id": "t2", "name": "b"}]),
        changed(tags=[{"id": "t2", "name": "vip"}]),
        changed(tags=None),
        changed(urls=[{"url": "x"}]),
        with_custom(tier="bronze"),
        with_custom(new=0),
        changed(custom_fields=None),
        changed(custom_fields="x"),
        {},
    ],
)
def test_a_hash_changes_with_any_value_that_the_body_would_overwrite(record):
    assert hashed(BODY, record) != hashed(BODY)


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "name": "Northwind Inc"},
        {**BODY, "website": "https://acme.test"},
        {name: value for name, value in BODY.items() if name != "urls"},
        {**BODY, "custom_fields": {"tier": "silver", "new": "1"}},
        {**BODY, "custom_fields": {"tier": "silver", "new": True}},
        {**BODY, "tags": []},
        {},
    ],
)
def test_a_hash_changes_with_the_body(body):
    assert hashed(body) != hashed(BODY)


def test_a_hash_is_the_same_for_any_order_of_the_bodys_keys():
    other = {**dict(reversed(BODY.items())), "custom_fields": dict(reversed(BODY["custom_fields"].items()))}
    assert list(other) != list(BODY)
    assert hashed(other) == hashed(BODY)


def test_a_hash_changes_with_the_target():
    assert len({hashed(BODY), hashed(BODY, path=f"{PATH}2"), hashed(BODY, account=ACCOUNT.replace("1", "2"))}) == 3
    assert hashed(BODY, path="/a", account="b") != hashed(BODY, path="b", account="/a")


def test_what_remote_data_overwrites_is_not_in_the_hash_but_what_it_sends_is():
    body = {"remote_data": {"a": 1}}
    assert hashed(body, changed(remote_data={"a": 0, "modified": "x"})) == hashed(body)
    assert hashed({"remote_data": {"a": 2}}) != hashed(body)


names = st.sampled_from(["a", "b", "phone", "x/y"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(names, x, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, json_values, max_size=4)


@given(objects, objects)
def test_every_change_has_its_values_and_its_field_differs(body, record):
    before = copy.deepcopy((body, record))
    found = list_changes(body, record)
    assert (body, record) == before
    assert len({change.pointer for change in found}) == len(found)
    fields = {change.pointer.split("/")[1].replace("~1", "/") for change in found}
    assert select_differing(body, record) == {name: value for name, value in body.items() if name in fields}
    assert hashed(body, record) == hashed(body, {**record, "updated_at": "x"})


@given(objects, st.dictionaries(st.sampled_from(["id", "updated_at"]), json_values))
def test_a_record_that_holds_the_body_already_is_not_changed(body, more):
    assert list_changes(body, {**copy.deepcopy(body), **more}) == ()


@given(objects, objects)
def test_after_the_write_nothing_is_left_to_change_and_the_hash_tells_it(body, record):
    after = {**record, **select_differing(body, record)}
    assert list_changes(body, after) == ()
    for name in body:
        if list_changes({name: body[name]}, record):
            assert hashed(body, record) != hashed(body, {**record, name: body[name]})
