"""The schema of an update's body: what it takes, field by field, and how it words what it does not take."""

from __future__ import annotations

import pytest

from airflow_provider_truto.schemas.packaged import load_packaged_schema

REQUEST = load_packaged_schema("crm.accounts.update", "request")
TEXTS = ("Acme", "", " ", "Café 株式会社 🏢", "x" * 100_000, "line\nbreak", "null", "0")
NO_TEXTS = (5, 1.5, True, None, [], {}, ["Acme"], {"name": "Acme"})
NO_OBJECTS = ("{}", '{"tier": "gold"}', 5, True, None, [], [{}])
NO_LISTS = ("[]", {}, {"id": "1"}, 5, True, None)
ADDRESS = ("id", "street_1", "street_2", "city", "state", "postal_code", "country", "type")

RIGHT = {
    "addresses": ([], [{}], [dict.fromkeys(ADDRESS, "x")], [{"city": "Pune"}, {"type": "headquarters"}]),
    "created_at": ("2026-01-31T12:00:00Z",),
    "custom_fields": (
        {},
        {"tier": "gold", "n": None, "deep": [{"a": [1.5, True, {}]}], "": 0},
    ),
    "description": TEXTS,
    "industry": TEXTS,
    "name": TEXTS,
    "number_of_employees": (0, 1, 120, 10**15, 120.0),
    "owner": ({"id": "u1"}, {"id": "0"}),
    "phone_numbers": (
        [],
        [{}],
        [{"id": "1", "number": "+1 555 0100", "extension": "7", "type": "work"}],
        [{"type": "mobile"}, {"type": "fax"}],
    ),
    "remote_data": ({}, {"AnyProviderKey": 1, "nested": {"x": None}}),
    "tags": ([], [{"id": "t1"}], [{"name": "vip"}], [{"id": "t1", "name": ""}]),
    "urls": ([], [{}], [{"url": "https://acme.test", "type": "blog"}]),
    "website": TEXTS,
}
#: The value, the pointer of the complaint and a part of its message.
WRONG = {
    "addresses": [
        *((value, "/addresses", "expects an array") for value in NO_LISTS),
        (["1 Main St"], "/addresses/0", "expects an object, got the text '1 Main St'"),
        ([{}, None], "/addresses/1", "expects an object, got null"),
        ([{"street1": "x"}], "/addresses/0/street1", "did you mean `street_1`?"),
        *(([{child: 5}], f"/addresses/0/{child}", "expects text, got the number 5") for child in ADDRESS),
        *(([{child: None}], f"/addresses/0/{child}", "expects text, got null") for child in ADDRESS),
    ],
    "created_at": [
        *((value, "/created_at", "expects text") for value in NO_TEXTS),
        ("yesterday", "/created_at", "expects a date-time with its zone such as 2026-01-31T12:00:00Z"),
    ],
    "custom_fields": [(value, "/custom_fields", "expects an object") for value in NO_OBJECTS],
    "description": [(value, "/description", "expects text") for value in NO_TEXTS],
    "industry": [(value, "/industry", "expects text") for value in NO_TEXTS],
    "name": [(value, "/name", "expects text") for value in NO_TEXTS],
    "number_of_employees": [
        *(
            (value, "/number_of_employees", "expects a whole number")
            for value in ("120", "", 1.5, True, False, None, [], [5], {})
        ),
        (-1, "/number_of_employees", "must be 0 or more, got the number -1"),
    ],
    "owner": [
        *((value, "/owner", "expects an object") for value in (*NO_OBJECTS, "u1")),
        ({}, "/owner/id", "is required"),
        ({"id": ""}, "/owner/id", "must not be empty"),
        *(({"id": value}, "/owner/id", "expects text") for value in NO_TEXTS),
        ({"id": "u1", "name": "Ann"}, "/owner/name", "is not a known field"),
    ],
    "phone_numbers": [
        *((value, "/phone_numbers", "expects an array") for value in NO_LISTS),
        (["+1 555 0100"], "/phone_numbers/0", "expects an object"),
        ([{"number": 15550100}], "/phone_numbers/0/number", "expects text, got the number 15550100"),
        ([{"id": 5}], "/phone_numbers/0/id", "expects text"),
        ([{"extension": 7}], "/phone_numbers/0/extension", "expects text"),
        ([{"phone": "x"}], "/phone_numbers/0/phone", "is not a known field"),
    ],
    "remote_data": [(value, "/remote_data", "expects an object") for value in NO_OBJECTS],
    "tags": [
        *((value, "/tags", "expects an array") for value in NO_LISTS),
        (["vip"], "/tags/0", "expects an object"),
        ([{"name": "vip"}, {}], "/tags/1", "is empty: there is nothing in it to send"),
        ([{"id": 5}], "/tags/0/id", "expects text"),
        ([{"name": None}], "/tags/0/name", "expects text, got null"),
        ([{"nme": "vip"}], "/tags/0/nme", "did you mean `name`?"),
    ],
    "urls": [
        *((value, "/urls", "expects an array") for value in NO_LISTS),
        (["https://acme.test"], "/urls/0", "expects an object"),
        ([{"url": 5}], "/urls/0/url", "expects text"),
        ([{"type": 5}], "/urls/0/type", "expects text"),
        ([{"link": "x"}], "/urls/0/link", "is not a known field"),
    ],
    "website": [(value, "/website", "expects text") for value in NO_TEXTS],
}


def test_the_tables_of_this_file_cover_every_field():
    fields = set(REQUEST.source["properties"])
    assert len(fields) == 13
    assert fields == set(RIGHT) == set(WRONG)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in RIGHT.items() for value in values])
def test_takes_a_right_value(field, value):
    assert REQUEST.check({field: value}) == []


@pytest.mark.parametrize(
    ("field", "value", "pointer", "message"), [(field, *row) for field, rows in WRONG.items() for row in rows]
)
def test_refuses_a_wrong_value_at_its_pointer(field, value, pointer, message):
    (finding,) = (f for f in REQUEST.check({field: value}) if not f.is_advisory)
    assert finding.pointer == pointer
    assert message in finding.message


@pytest.mark.parametrize("body", [None, [], "x", 5, True, [{"name": "Acme"}]])
def test_a_body_is_an_object(body):
    (finding,) = REQUEST.check(body)
    assert finding.message.startswith("expects an object, got ")


def test_an_empty_body_says_that_there_is_nothing_to_send():
    (finding,) = REQUEST.check({})
    assert "there is nothing in it to send" in finding.message


def test_no_field_is_required():
    assert "required" not in REQUEST.source


def test_a_number_where_text_is_wanted_is_known_as_such():
    (finding,) = REQUEST.check({"name": 5})
    assert (finding.message, finding.wants_text) == ("expects text, got the number 5", True)
    assert not any(finding.wants_text for finding in REQUEST.check({"name": [5], "number_of_employees": "5"}))


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        ({"owner": "u1"}, "got the text 'u1'; did you mean {\"id\": …}?"),
        ("body.json", "got the text 'body.json'; did you mean body_file?"),
        ("{'name': 'Acme'}", "(JSON has double quotes)"),
        ("Acme", "got the text 'Acme'"),
    ],
)
def test_text_where_an_object_is_wanted_tells_what_is_most_likely_meant(body, ending):
    (finding,) = REQUEST.check(body)
    assert finding.message.endswith(ending)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("Website", "website"),
        ("webSite", "website"),
        ("web-site", "website"),
        ("websit", "website"),
        ("NAME", "name"),
        ("nmae", "name"),
        ("phoneNumbers", "phone_numbers"),
        ("phone_number", "phone_numbers"),
        ("number-of-employees", "number_of_employees"),
        ("numberOfEmployees", "number_of_employees"),
        ("employees", "number_of_employees"),
        ("adresses", "addresses"),
        ("customFields", "custom_fields"),
        ("createdAt", "created_at"),
        ("remoteData", "remote_data"),
        ("url", "urls"),
        ("tag", "tags"),
        ("industries", "industry"),
        ("descripton", "description"),
        ("owners", "owner"),
    ],
)
def test_an_unknown_key_is_told_the_nearest_known_one(key, meant):
    (finding,) = REQUEST.check({key: "x"})
    assert (finding.pointer, finding.keyword) == (f"/{key}", "additionalProperties")
    assert finding.message == f"is not a known field: did you mean `{meant}`?"


@pytest.mark.parametrize("key", ["revenue_q3_forecast_xyz", "", "💸", "zzz", "_", "-", "12"])
def test_a_key_like_no_other_is_told_all_known_ones_and_the_way_out(key):
    (finding,) = REQUEST.check({key: "x"})
    assert finding.pointer == f"/{key}"
    assert "known: addresses, created_at, custom_fields" in finding.message
    assert "extra_fields" in finding.message


@pytest.mark.parametrize("key", ["id", "last_activity_at", "updated_at"])
def test_what_only_truto_sets_is_called_read_only(key):
    (finding,) = REQUEST.check({key: "2026-01-31T12:00:00Z"})
    assert finding.message.startswith("is read-only")


def test_every_unknown_key_is_reported_each_at_its_own_pointer():
    found = REQUEST.check({"b~c": 1, "a/b": 1, "name": "Acme", "owner": {"id": "u", "x": 1}})
    assert [finding.pointer for finding in found] == ["/a~1b", "/b~0c", "/owner/x"]


@pytest.mark.parametrize("kind", ["home", "main", "", "WORK", "Work"])
def test_another_type_of_phone_than_the_documented_ones_is_only_a_warning(kind):
    (finding,) = REQUEST.check({"phone_numbers": [{"number": "1"}, {"type": kind}]})
    assert finding.is_advisory
    assert finding.pointer == "/phone_numbers/1/type"
    assert finding.message == f'expects one of "work", "mobile", "fax", got the text {kind!r}'


@pytest.mark.parametrize("kind", [5, True, None, [], {}])
def test_a_type_of_phone_that_is_not_text_is_refused(kind):
    found = REQUEST.check({"phone_numbers": [{"type": kind}]})
    assert [finding.keyword for finding in found if not finding.is_advisory] == ["type"]


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00z",
        "2026-01-31t12:00:00z",
        "2026-01-31 12:00:00Z",
        "2026-01-31T12:00:00.1Z",
        "2026-01-31T12:00:00.123456789+05:30",
        "2026-01-31T12:00:00-00:00",
        "2026-01-31T12:00:00+23:59",
        "2024-02-29T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
    ],
)
def test_a_date_time_with_a_zone_is_taken(text):
    assert REQUEST.check({"created_at": text}) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00Z",
        "2026-01-31T12Z",
        "2026-1-31T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2025-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-00-01T12:00:00Z",
        "0000-01-01T12:00:00Z",
        "2026-01-31T24:00:01Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+0530",
        "2026-01-31T12:00:00+05",
        "2026-01-31T12:00:00 Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00Zjunk",
        "2026-01-31T12:00:00Z\n",
        " 2026-01-31T12:00:00Z",
        "20260131T120000Z",
        "2026-W05-6T12:00:00Z",
        "٢٠٢٦-01-31T12:00:00Z",
        "1769860800",
        "Sat, 31 Jan 2026 12:00:00 GMT",
    ],
)
def test_text_that_is_not_a_date_time_with_a_zone_is_refused(text):
    (finding,) = REQUEST.check({"created_at": text})
    assert (finding.pointer, finding.keyword) == ("/created_at", "format")


def test_findings_come_in_the_order_of_their_pointers_and_all_at_once():
    body = {
        "website": 5,
        "nme": "x",
        "addresses": [{"city": 1}, {"citty": "x"}],
        "owner": {},
        "number_of_employees": "many",
    }
    assert [finding.pointer for finding in REQUEST.check(body)] == [
        "/addresses/0/city",
        "/addresses/1/citty",
        "/nme",
        "/number_of_employees",
        "/owner/id",
        "/website",
    ]


def test_a_long_value_is_shortened_in_the_message():
    (finding,) = REQUEST.check({"number_of_employees": "9" * 5000})
    assert len(finding.message) < 120
    assert finding.message.endswith("…")


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ({"name": None}, True),
        ({"number_of_employees": None}, True),
        ({"created_at": None}, True),
        ({"owner": {"id": None}}, True),
        ({"addresses": [{"city": None}]}, True),
        ({"owner": None}, False),
        ({"tags": None}, False),
        ({"tags": [None]}, False),
        ({"custom_fields": None}, False),
        ({"name": 5}, False),
    ],
)
def test_only_null_in_place_of_a_scalar_is_marked_as_such(value, allowed):
    (finding,) = REQUEST.check(value)
    assert (finding.is_null and finding.wants_scalar) is allowed


PATH = load_packaged_schema("crm.accounts.update", "path")


@pytest.mark.parametrize("account", ["23423523", "a/b c?d#e", "...", " ", "ü", "x" * 5000])
def test_any_text_is_an_account_id(account):
    assert PATH.check({"id": account}) == []


@pytest.mark.parametrize("account", ["", ".", "..", 5, None, True, ["1"], {"id": "1"}])
def test_what_names_no_account_is_refused(account):
    assert [finding.pointer for finding in PATH.check({"id": account})] == ["/id"]
