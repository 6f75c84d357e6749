"""The params of a packaged schema: Airflow's form is drawn from them, and what it sends becomes the body."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from airflow_provider_truto import schemas
from airflow_provider_truto._compat import IS_AIRFLOW_2, AirflowFailException
from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator
from airflow_provider_truto.schemas import packaged
from airflow_provider_truto.schemas.packaged import load_packaged_schema

try:
    from airflow.sdk import DAG, Param
    from airflow.sdk.exceptions import ParamValidationError
except ImportError:
    try:
        from airflow.sdk import DAG, Param
    except ImportError:
        from airflow.models.dag import DAG
        from airflow.models.param import Param
    from airflow.exceptions import ParamValidationError

OPERATION = "crm.accounts.update"
RECORD = "23423523"
SCHEMA = load_packaged_schema(OPERATION, "request").source
#: What both of Airflow's forms send where nobody has filled anything in.
EMPTY = dict.fromkeys(SCHEMA["properties"])


def submit(truto, filled_in, *, names=SCHEMA["properties"]):
    """Trigger a DAG with what its form sends, and return the body of the PATCH."""
    with DAG(
        dag_id="form",
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        schedule=None,
        params={"account_id": Param(RECORD, type="string"), **schemas.params(OPERATION)},
    ):
        update = TrutoUpdateAccountOperator(
            task_id="update",
            account_id="{{ params.account_id }}",
            integrated_account_id=ACME,
            body=schemas.body_from_params(names),
        )
    truto.run(update, params={"account_id": RECORD, **EMPTY, **filled_in})
    return truto.requests[-1].body


def test_every_field_of_the_schema_has_a_param_that_may_stay_empty():
    form = schemas.params(OPERATION)
    assert sorted(form) == sorted(SCHEMA["properties"])
    for name, param in form.items():
        assert param.resolve() is None
        assert param.schema["type"] == [SCHEMA["properties"][name]["type"], "null"]
        assert param.description.startswith(SCHEMA["properties"][name]["description"])


def test_a_form_reads_from_what_is_simple_to_what_is_json():
    form = schemas.params(OPERATION)
    titles = [param.schema["title"] for param in form.values()]
    assert titles[3:8] == ["Name", "Number of employees", "Website", "Addresses", "Custom fields"]
    assert titles[-1] == "URLs"
    assert form["tags"].description == "Supported by 12 integrations. JSON: a list of objects with id, name."


@pytest.mark.parametrize(
    ("name", "value", "is_valid"),
    [
        ("name", "Acme", True),
        ("name", 5, False),
        ("number_of_employees", 0, True),
        ("number_of_employees", -1, False),
        ("number_of_employees", 1.5, False),
        ("number_of_employees", "12", False),
        ("owner", {"id": "u1"}, True),
        ("owner", {}, False),
        ("tags", [{"name": "vip"}], True),
        ("tags", [{"nme": "vip"}], False),
        ("tags", [{}], False),
        ("custom_fields", {"tier": [1, None]}, True),
        ("custom_fields", "gold", False),
        # The schema calls its choices of this an advice; Airflow knows none.
        ("phone_numbers", [{"number": "1", "type": "home"}], True),
    ],
)
def test_a_param_takes_what_the_schema_takes(name, value, is_valid):
    param = schemas.params(OPERATION)[name]
    findings = load_packaged_schema(OPERATION, "request").check({name: value})
    assert all(finding.is_advisory for finding in findings) == is_valid
    if is_valid:
        assert param.resolve(value) == value
    else:
        with pytest.raises(ParamValidationError):
            param.resolve(value)


@pytest.mark.parametrize(
    ("filled_in", "body"),
    [
        ({"name": "Acme"}, {"name": "Acme"}),
        ({"name": "", "website": "https://acme.test", "tags": [], "owner": None, "custom_fields": {}}, "website"),
        ({"number_of_employees": 0}, {"number_of_employees": 0}),
        ({"created_at": "2026-01-31T12:00:00+01:00"}, {"created_at": "2026-01-31T12:00:00+01:00"}),
        ({"name": "{{ 1 }}"}, {"name": "{{ 1 }}"}),
        (
            {"tags": [{"name": "vip"}], "custom_fields": {"tier": "", "seats": 0}},
            {"tags": [{"name": "vip"}], "custom_fields": {"tier": "", "seats": 0}},
        ),
    ],
)
def test_only_what_was_filled_in_is_sent(truto, filled_in, body):
    if isinstance(body, str):
        body = {body: filled_in[body]}
    assert submit(truto, filled_in) == body


def test_a_form_that_nobody_filled_in_changes_nothing_and_says_so(truto):
    with pytest.raises(AirflowFailException, match="/body: "):
        submit(truto, {})
    assert truto.requests == []


def test_a_body_may_take_some_of_the_params(truto):
    assert submit(truto, {"name": "Acme", "industry": "Retail"}, names=["name"]) == {"name": "Acme"}


def test_a_name_that_is_no_param_is_told_and_not_left_out(truto):
    with pytest.raises(AirflowFailException, match="nmae"):
        submit(truto, {"name": "Acme", "industry": "Retail"}, names=["nmae", "industry"])
    assert truto.requests == []


def test_one_form_may_have_the_fields_of_two_records(truto):
    parent, child = (schemas.params(OPERATION, prefix=prefix) for prefix in ("parent_", "child_"))
    assert [param.schema["title"] for param in parent.values()][-1] == "Parent: URLs"
    with DAG(
        dag_id="form",
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        schedule=None,
        params={**parent, **child},
    ):
        update = TrutoUpdateAccountOperator(
            task_id="update",
            account_id=RECORD,
            integrated_account_id=ACME,
            body=schemas.body_from_params(child, prefix="child_"),
        )
    truto.run(update, params={"parent_name": "Acme", "child_name": "Acme Labs", "child_website": ""})
    assert truto.requests[-1].body == {"name": "Acme Labs"}


def test_a_name_without_the_prefix_is_told_while_the_dag_file_is_parsed():
    with pytest.raises(ValueError, match="names: expects names that begin with the prefix 'child_', got 'name'"):
        schemas.body_from_params(["child_name", "name"], prefix="child_")


@pytest.mark.parametrize("names", ["name", "", []])
def test_a_body_of_no_param_is_told_while_the_dag_file_is_parsed(names):
    with pytest.raises(ValueError, match="names: expects some"):
        schemas.body_from_params(names)


@pytest.fixture
def form_of(tmp_path, monkeypatch):
    """A function that makes the form of another schema."""
    folder = tmp_path / "crm.deals.create"
    folder.mkdir()
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)

    def make(schema):
        (folder / "request.json").write_text(json.dumps(schema))
        packaged.load_packaged_schema.cache_clear()
        return schemas.params(folder.name)

    yield make
    packaged.load_packaged_schema.cache_clear()


def test_a_field_that_the_schema_requires_must_be_filled_in(form_of):
    name = form_of({"required": ["name"], "properties": {"name": {"type": "string"}}})["name"]
    assert name.schema["type"] == "string"
    with pytest.raises(ParamValidationError):
        name.resolve()


def test_choices_are_offered_and_nothing_else_is_taken(form_of):
    stage = form_of({"properties": {"stage": {"type": "string", "enum": ["open", "won"]}}})["stage"]
    assert stage.schema["examples" if IS_AIRFLOW_2 else "enum"][:2] == ["open", "won"]
    assert [stage.resolve(value) for value in ("open", None)] == ["open", None]
    with pytest.raises(ParamValidationError):
        stage.resolve("None")


def test_a_list_of_texts_is_a_line_each(form_of):
    labels = form_of({"properties": {"labels": {"type": "array", "items": {"type": "string"}}}})["labels"]
    assert (labels.description, labels.resolve(["a"])) == ("One per line.", ["a"])


def test_an_operation_without_a_packaged_schema_is_told():
    with pytest.raises(ValueError, match=r"'crm\.accounts\.updat' has no packaged schema"):
        schemas.params("crm.accounts.updat")
