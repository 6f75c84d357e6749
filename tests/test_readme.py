"""The README says what is there: every field, argument, error and command, and its code runs."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from airflow_provider_truto.client import errors
from airflow_provider_truto.connection_fields import EXTRA_FIELDS
from airflow_provider_truto.emulator import Emulator
from airflow_provider_truto.operators._task import codes_of_errors
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
#: `test_example_dags.py` runs those that are DAGs.
SCRIPTS = [block for block in BLOCKS if "with DAG(" not in block]


def rows():
    return [line for line in README.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("field", EXTRA_FIELDS, ids=lambda field: field.name)
def test_the_connection_table_has_every_field_of_the_form(field):
    assert any(f"| {field.label} | `extra.{field.name}` |" in row for row in rows())


ARGUMENTS = [
    name
    for name, parameter in inspect.signature(TrutoUpdateAccountOperator.__init__).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_operator_s_table_has_every_argument_and_says_whether_it_is_templated(name):
    row = [row for row in rows() if row.startswith(f"| `{name}` |")][-1]
    assert ("templated" in row.split("|")[2]) == (name in TrutoUpdateAccountOperator.template_fields)


ERRORS = sorted(
    name
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, errors.TrutoError) and name not in {"TrutoError", "TrutoApiError"}
)


@pytest.mark.parametrize("name", ERRORS)
def test_the_error_table_has_every_error_with_its_name_for_skip_on(name):
    (row,) = [row for row in rows() if row.startswith(f"| `{name}` |")]
    codes = {cls.__name__: code for code, cls in codes_of_errors().items()}
    assert row.split("|")[2].strip() == (f"`{codes[name]}`" if name in codes else "")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))))
def test_every_make_command_exists(command):
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http|#)[^)]+)\)", README))))
def test_every_linked_file_exists(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("anchor", sorted(set(re.findall(r"\]\(#([^)]+)\)", README))))
def test_every_linked_section_exists(anchor):
    assert anchor in {title.lower().replace(" ", "-") for title in re.findall(r"^## (.*)$", README, re.MULTILINE)}


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_the_code_that_is_no_dag_runs(script, monkeypatch):
    with Emulator() as emulator:
        conn = {"conn_type": "truto", "host": emulator.url, "password": emulator.token}
        monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", json.dumps(conn))
        names = {}
        exec(script, names)
        assert names["account"]["website"] == "https://northwind.example"
        assert names["accounts"].status_code == 200
        assert [entry["method"] for entry in emulator.executions] == ["PATCH", "GET"]
