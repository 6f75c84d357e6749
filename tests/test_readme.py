"""The README says what is there: every field, argument and error, and its code runs. See also ``test_docs.py``."""

from __future__ import annotations

import json

import pytest
from test_docs import README

from airflow_provider_truto.airflow_errors import map_error_codes
from airflow_provider_truto.client import errors
from airflow_provider_truto.client.api import TrutoApi
from airflow_provider_truto.client.resource import Resource
from airflow_provider_truto.client.statuses import OTHER, OTHER_SERVER, STATUSES
from airflow_provider_truto.connection_fields import EXTRA_FIELDS
from airflow_provider_truto.emulator import Emulator
from airflow_provider_truto.operators._argument import REQUIRED
from airflow_provider_truto.operators._signature import collect_parameters
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator
from airflow_provider_truto.operators.proxy import TrutoProxyOperator
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator


@pytest.mark.parametrize("field", EXTRA_FIELDS, ids=lambda field: field.name)
def test_the_connection_table_has_every_field_of_the_form(field):
    assert any(f"| {field.label} | `extra.{field.name}` |" in row for row in README.rows)


HOOK_METHODS = [name for name, method in vars(TrutoApi).items() if not name.startswith("_") and callable(method)]


OTHERS = {"do", "find_keys", "listing"}  # what the methods are made of


@pytest.mark.parametrize("name", sorted({*HOOK_METHODS, "update_account", "get_conn"} - OTHERS))
def test_the_table_of_the_hook_has_every_method(name):
    assert any(f"`{name}(" in row for row in README.rows)


@pytest.mark.parametrize("name", [name for name in vars(Resource) if not name.startswith("_")])
def test_the_table_of_the_hook_has_every_method_of_a_resource(name):
    assert any(f"`.{name}(" in row for row in README.rows)


def told(first):
    """The arguments in a table, and whether each is templated and required."""
    return {name.strip("`"): marks for name, marks, _ in README.table(first)}


def marks_of(operator):
    """What the README is to say of an operator's arguments."""
    found = {}
    for name, parameter in collect_parameters(operator).items():
        marks = {"templated": name in operator.template_fields, "required": parameter.default is REQUIRED}
        found[name] = ", ".join(mark for mark, is_told in marks.items() if is_told)
    return found


def test_the_table_of_the_account_update_is_the_signature():
    assert told("argument of an account update") == marks_of(TrutoUpdateAccountOperator)


def test_the_table_of_other_calls_has_what_they_take_beside_that():
    of_update = marks_of(TrutoUpdateAccountOperator)
    others = {**marks_of(TrutoProxyOperator), **marks_of(TrutoUnifiedOperator)}
    assert told("argument of any other call") == {n: marks for n, marks in others.items() if n not in of_update}


ERRORS = sorted(
    name
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, errors.TrutoError) and name not in {"TrutoError", "TrutoApiError"}
)


@pytest.mark.parametrize("name", ERRORS)
def test_the_error_table_has_every_error_with_its_name_for_skip_on(name):
    (row,) = [row for row in README.rows if row.startswith(f"| `{name}` |")]
    codes = {cls.__name__: code for code, cls in map_error_codes().items()}
    assert row.split("|")[2].strip() == (f"`{codes[name]}`" if name in codes else "")


def line_of(status, row):
    def cells(meaning):
        marks = ("yes" if again else "no" for again in (meaning.in_call, meaning.by_task))
        return [f"`{meaning.error.__name__}`", *marks]

    return f"| {' | '.join([status, *cells(row.of_truto), *cells(row.of_crm)])} |"


def test_the_table_of_statuses_is_that_of_the_code():
    others = {"any other": OTHER, "any other from 500": OTHER_SERVER}
    rows = {**{str(status): row for status, row in STATUSES.items()}, **others}
    start = README.rows.index(
        "| status | of Truto | in the call | by the task | of the CRM | in the call | by the task |"
    )
    told = README.rows[start + 2 : start + 2 + len(rows)]
    assert told == [line_of(status, row) for status, row in rows.items()]


@pytest.mark.parametrize("script", README.scripts, ids=range(len(README.scripts)))
def test_the_code_that_is_no_dag_runs(script, monkeypatch):
    with Emulator() as emulator:
        conn = {"conn_type": "truto", "host": emulator.url, "password": emulator.token}
        monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", json.dumps(conn))
        names = {}
        exec(script, names)
        assert emulator.executions
        if "account" in names:
            assert names["account"]["website"] == "https://northwind.example"
            assert names["names"] == ["Silva", "Okafor", "Rao", "Lindqvist", "Martin"]
            assert names["accounts"].status_code == 200
        else:
            assert names["headcount"] == 120 + 4200 + 14
