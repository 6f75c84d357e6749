"""What holds of a record, what does not hold yet, and what can never be judged."""

from __future__ import annotations

import pytest

from airflow_provider_truto.records.condition import Condition, ConditionError

RECORD = {
    "id": "1",
    "name": "Northwind",
    "number_of_employees": 120,
    "website": None,
    "owner": {"id": "u-17", "name": "Ada"},
    "phone_numbers": [{"number": "+1 206 555 0100", "type": "work"}],
    "tags": [],
    "custom_fields": {"tier": "gold", "a/b": 1},
    "updated_at": "2024-06-01T12:00:00.000Z",
    "last_activity_at": "2024-05-28 15:20:00",
    "remote_data": {"stage": "won"},
}
FIELDS = [
    ({"name": "Northwind"}, ""),
    ({"name": "northwind"}, "/name"),
    ({"name": "x", "owner": {"id": "x"}}, "/name, /owner/id"),
    ({"owner": {"id": "u-17"}}, ""),
    ({"owner": {"id": "u-17", "team": "x"}}, "/owner/team"),
    ({"/owner/id": "u-17", "/custom_fields/a~1b": 1, "/phone_numbers/0/type": "work"}, ""),
    ({"/phone_numbers/1/type": "work"}, "/phone_numbers/1/type"),
    ({"/owner/id/x": "u-17"}, "/owner/id/x"),
    ({"number_of_employees": "120"}, ""),
    ({"updated_at": "2024-06-01T14:00:00+02:00"}, ""),
    ({"phone_numbers": [{"number": "+12065550100"}]}, ""),
    ({"website": None, "tags": [], "industry": ""}, ""),
    ({"name": None}, "/name"),
    ({"remote_data": {"stage": "won"}}, ""),
    ({"webiste": "x"}, "/webiste (did you mean website?)"),
]


@pytest.mark.parametrize(("fields", "differing"), FIELDS)
def test_fields_are_compared_as_a_change_would_be(fields, differing):
    told = Condition(fields=fields).explain_unmet(RECORD)
    assert told == (f"the record differs at {differing}" if differing else "")


HOLD = [
    "record.name == 'Northwind'",
    "record['custom_fields']['a/b'] == 1 and record.owner.id in ['u-17', 'u-18']",
    "record.website is none",
    "record.industry is not defined",
    "record.industry | default('x') == 'x'",
    "record.tags | length == 0",
    "not record.tags",
    "record.number_of_employees >= values.least",
    "record.updated_at | as_datetime > values.since | as_datetime",
    "record.last_activity_at | as_datetime == '2024-05-28T15:20:00Z' | as_datetime",
    "'}}' not in record.name",
]
DO_NOT_HOLD = {
    "record.name == 'x'": "is false",
    "record.nmae == 'Northwind'": "did you mean 'name'",
    "record.nmae != 'Northwind'": "'nmae' is unknown",
    "record.industry.name == 'x'": "'industry' is unknown",
    "record.website > 'a'": "cannot be told of this record",
    "record.name | as_datetime > values.since | as_datetime": "as_datetime expects a time, got str",
    "none": "is None",
}
VALUES = {"least": 100, "since": "2024-01-01T00:00:00+05:30"}


@pytest.mark.parametrize("expression", HOLD)
def test_an_expression_that_holds(expression):
    assert Condition(expression=expression, values=VALUES).explain_unmet(RECORD) == ""


@pytest.mark.parametrize("expression", DO_NOT_HOLD)
def test_an_expression_that_does_not_hold_yet_says_why(expression):
    assert DO_NOT_HOLD[expression] in Condition(expression=expression, values=VALUES).explain_unmet(RECORD)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("record.name", "must be true or false"),
        ("record.number_of_employees / 0 == 1", "ZeroDivisionError"),
        ("record.name.__class__.__mro__ == 1", "SecurityError"),
        ("record.tags.append(1) == 1", "SecurityError"),
        ("range(3) == 1", "knows record and values, and not range"),
        ("record.name }} {{ record.id", "expects one expression"),
        ("record.name ==", "condition: "),
        ("record | nothing", "No filter named 'nothing'"),
    ],
)
def test_an_expression_that_can_never_be_judged_is_an_error(expression, told):
    with pytest.raises(ConditionError, match=told):
        Condition(expression=expression).explain_unmet(RECORD)


def test_data_is_never_code():
    text = "{{ 7 * 7 }}' or true or '"
    told = Condition(expression="record.name == values.name", values={"name": text}).explain_unmet({"name": "x"})
    assert told == "the condition 'record.name == values.name' is false"
    assert Condition(fields={"name": text}).explain_unmet({"name": text}) == ""
