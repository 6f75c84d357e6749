"""The operator's arguments while a DAG file is parsed, and a run without any Airflow around it."""

from __future__ import annotations

import inspect
import json

import pytest

from airflow_provider_truto.client.errors import TrutoServerError
from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator
from airflow_provider_truto.operators.proxy import TrutoProxyOperator
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator

BODY = {"name": "Acme"}


def an_operator(**arguments):
    return TrutoUpdateAccountOperator(
        task_id="update", **{"account_id": "23423523", "integrated_account_id": ACME, "body": BODY, **arguments}
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"body_file": "body.json"}, "give either body or body_file"),
        ({"on_none": "skip"}, "on_none: expects one of error, omit, null, got 'skip'"),
        ({"on_none": None}, "on_none: expects"),
        ({"verify": "error"}, "verify: expects one of warn, fail or None, got 'error'"),
        ({"verify": True}, "verify: expects"),
        ({"skip_on": "not_found"}, "skip_on: expects a list out of "),
        ({"skip_on": ["not_found", "gone", "404"]}, "got 404, gone"),
        ({"skip_on": ["schema"]}, "skip_on: expects"),
    ],
    ids=str,
)
def test_an_argument_that_can_never_be_right_is_told_while_the_dag_file_is_parsed(arguments, message):
    with pytest.raises(ValueError) as caught:
        an_operator(**arguments)
    assert message in str(caught.value)


def test_neither_body_nor_file_is_told_while_the_dag_file_is_parsed():
    with pytest.raises(ValueError, match="give either body or body_file"):
        TrutoUpdateAccountOperator(task_id="update", account_id="1")


@pytest.mark.parametrize("missing", ["account_id", "task_id"])
def test_what_no_task_can_do_without_is_required(missing):
    arguments = {"task_id": "update", "account_id": "1", "body": BODY}
    del arguments[missing]
    with pytest.raises(Exception, match=missing):
        TrutoUpdateAccountOperator(**arguments)


def test_a_subclass_keeps_what_is_templated_and_may_add_to_it():
    class Noting(TrutoUpdateAccountOperator):
        template_fields = (*TrutoUpdateAccountOperator.template_fields, "note")

    class Below(Noting):
        def __init__(self, *, note="", preview=True, **kwargs):
            super().__init__(preview=preview, **kwargs)
            self.note = note

    assert Below.template_fields == Noting.template_fields


def test_a_misspelt_argument_is_told_while_the_dag_file_is_parsed():
    with pytest.raises(Exception, match="acount_id"):
        an_operator(acount_id="1")


@pytest.mark.parametrize("skip_on", [(), ["not_found"], ("reauthorization_required", "not_found"), {"conflict"}])
def test_the_names_of_errors_are_taken_in_any_collection(skip_on):
    assert set(an_operator(skip_on=skip_on).skip_on) == set(skip_on)


def test_every_templated_field_is_an_argument_and_a_schema_is_not_templated():
    for operator in (TrutoUpdateAccountOperator, TrutoUnifiedOperator, TrutoProxyOperator):
        assert set(operator.template_fields) <= set(inspect.signature(operator).parameters)
        assert "schema" not in operator.template_fields


def test_no_argument_shadows_what_airflow_has_under_that_name():
    own = {name for name in vars(an_operator()) if name in {"output", "dry_run", "resources"}}
    assert an_operator().output is not None
    assert callable(an_operator().dry_run)
    assert own <= {"resources"}


def test_no_extension_of_a_value_makes_it_a_file():
    """Airflow would replace any value that ends so by the text of a file, an S3 path too."""
    assert tuple(TrutoUpdateAccountOperator.template_ext) == ()


def test_an_operator_can_be_deep_copied_and_keeps_what_was_not_given():
    import copy

    twin = copy.deepcopy(TrutoUpdateAccountOperator(task_id="update", account_id="1", body=BODY))
    assert twin.body == BODY
    assert {"account_id", "body"} <= {name for name, is_given in twin._taken.items() if is_given}
    assert not twin._taken["integrated_account_id"]


def test_an_operator_runs_without_any_airflow_around_it(worker):
    value = an_operator().execute({})
    assert value["id"] == "23423523"
    assert worker.requests[0].body == BODY


def test_without_a_task_each_call_is_a_write_of_its_own(worker):
    operator = an_operator()
    operator.execute({})
    operator.execute({})
    assert len(worker.emulator.executions) == 2


def test_without_a_task_a_passing_error_is_raised_as_it_is(worker):
    worker.fault(status=502, times=None)
    with pytest.raises(TrutoServerError):
        an_operator().execute({})


def test_rendering_by_hand_keeps_types_too():
    operator = an_operator(body={"name": "{{ name }}", "number_of_employees": "{{ n }}", "website": "{{ nothing }}"})
    operator.render_template_fields({"name": "+15550100", "n": 5, "nothing": None})
    assert operator.body["name"] == "+15550100"
    assert operator.body["number_of_employees"] == 5
    assert repr(operator.body["website"]) == "<missing: {{ nothing }} is None>"


def test_values_are_hidden_in_every_message_where_the_config_says_so(worker, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TRUTO__HIDE_VALUES", "True")
    worker.fault(status=422, body={"truto_is_remote_error": True, "message": "SECRET name is taken"})
    seen = []
    for body in (
        {"name": "SECRET name"},
        {"number_of_employees": "SECRET name", "owner": {"id": ""}, "created_at": "SECRET name"},
    ):
        with pytest.raises(Exception) as caught:
            an_operator(body=body).execute({})
        seen.append(json.dumps([str(caught.value), str(caught.value.__cause__)]))
    assert "SECRET" not in "".join(seen)
    assert "/body/number_of_employees" in seen[1]
