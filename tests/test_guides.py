"""The guides say what is there: every field, argument, method, error and message, and their code runs.

See also ``test_docs.py``, which is about every page, and about bulks.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from airflow_home import airflow_home, free_port
from test_docs import BULK, ROOT, imported_as_here, page_of, shown_default, statuses_of

from airflow_provider_truto.client import errors
from airflow_provider_truto.client.api import TrutoApi
from airflow_provider_truto.client.resource import Resource
from airflow_provider_truto.client.skip_on import map_error_codes
from airflow_provider_truto.client.statuses import OTHER, OTHER_SERVER, STATUSES, Row
from airflow_provider_truto.connection_fields import EXTRA_FIELDS
from airflow_provider_truto.emulator import ACME, TOKEN, Emulator
from airflow_provider_truto.emulator.state.seed import default_seed
from airflow_provider_truto.operators._signature import collect_parameters
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator
from airflow_provider_truto.operators.proxy import TrutoProxyOperator
from airflow_provider_truto.operators.sync_jobs import TrutoSyncJobRunOperator
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator
from airflow_provider_truto.sensors.integrated_accounts import TrutoIntegratedAccountSensor
from airflow_provider_truto.sensors.records import TrutoRecordSensor
from airflow_provider_truto.sensors.sync_jobs import TrutoSyncJobRunSensor

CONNECTION, HOOK, ERRORS, TUTORIAL = map(page_of, ("connection", "hook", "errors", "tutorial"))

# ----------------------------------------------------------------------------------------------- docs/connection.md


@pytest.mark.parametrize("field", EXTRA_FIELDS, ids=lambda field: field.name)
def test_the_connection_table_has_every_field_of_the_form(field):
    assert any(f"| {field.label} | `extra.{field.name}` |" in row for row in CONNECTION.rows)


# ----------------------------------------------------------------------------------------------------- docs/hook.md


HOOK_METHODS = [name for name in dir(TrutoApi) if not name.startswith("_")]


OTHERS = {"do", "find_keys", "listing"}  # what the methods are made of


@pytest.mark.parametrize("name", sorted({*HOOK_METHODS, "update_account", "get_conn"} - OTHERS))
def test_the_table_of_the_hook_has_every_method(name):
    assert any(f"`{name}(" in row for row in HOOK.rows)


@pytest.mark.parametrize("name", [name for name in vars(Resource) if not name.startswith("_")])
def test_the_table_of_the_hook_has_every_method_of_a_resource(name):
    assert any(f"`.{name}(" in row for row in HOOK.rows)


# ------------------------------------------------------------------------------------------------ arguments of writes


def told(page, first):
    """The arguments in a table: the default of each, and whether it is templated."""
    return {name.strip("`"): (default, does.endswith("(templated)")) for name, default, does in page.table(first)}


def expected_of(operator):
    """What a page is to say of an operator's arguments."""
    return {
        name: (shown_default(one), name in operator.template_fields)
        for name, one in collect_parameters(operator).items()
    }


ARGUMENT_TABLES = [
    ("update_account", "argument of an account update", TrutoUpdateAccountOperator),
    ("sync_jobs", "argument of the run", TrutoSyncJobRunOperator),
    ("sync_jobs", "argument of the run's sensor", TrutoSyncJobRunSensor),
    ("wait_for_customer", "argument of the customer's sensor", TrutoIntegratedAccountSensor),
    ("wait_for_record", "argument of the record's sensor", TrutoRecordSensor),
]


@pytest.mark.parametrize(("page", "first", "operator"), ARGUMENT_TABLES)
def test_the_table_of_arguments_is_the_signature(page, first, operator):
    assert told(page_of(page), first) == expected_of(operator)


def test_the_table_of_other_calls_has_what_they_take_beside_that():
    of_update = expected_of(TrutoUpdateAccountOperator)
    others = {name: one for name, one in expected_of(TrutoUnifiedOperator).items() if name not in of_update}
    assert told(page_of("unified"), "argument of any other call") == others


def test_what_the_proxy_operator_does_not_take_is_on_its_page():
    known = {**expected_of(TrutoUpdateAccountOperator), **expected_of(TrutoUnifiedOperator)}
    table = page_of("proxy").table("argument")
    lacking = {name.strip("` ") for names, does in table if "not there" in does for name in names.split(",")}
    assert lacking == set(known) - set(expected_of(TrutoProxyOperator))


# -------------------------------------------------------------------------------------------------- docs/errors.md


CLASSES = sorted(
    name
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, errors.TrutoError) and name not in {"TrutoError", "TrutoApiError"}
)


@pytest.mark.parametrize("name", CLASSES)
def test_the_error_table_has_every_error_with_its_name_for_skip_on(name):
    (row,) = [row for row in ERRORS.table("error") if row[0] == f"`{name}`"]
    codes = {cls.__name__: code for code, cls in map_error_codes().items()}
    assert row[1] == (f"`{codes[name]}`" if name in codes else "")


def test_the_table_of_statuses_is_that_of_the_code():
    known = {**{str(status): row for status, row in STATUSES.items()}}
    known |= {"any other": OTHER, "any other from 500": OTHER_SERVER}
    again = {True: "is tried again", False: "is not"}
    expected = [
        [status, who, f"`{one.error.__name__}`", one.cause, one.fix.format(connection="the connection"), *tried]
        for status, row in known.items()
        for who, one in zip(("Truto", "the CRM"), row, strict=True)
        for tried in [(again[one.in_call], again[one.by_task])]
    ]
    assert ERRORS.table("status") == expected


def test_the_page_names_the_refusals_and_those_after_which_a_write_without_a_key_is_repeated():
    refusals = [status for status, row in STATUSES.items() if all(one.is_refusal for one in row)]
    [told] = re.findall(r"^([\d, and]+) are refusals", ERRORS.text, re.M)
    assert statuses_of(told) == refusals
    repeated = [status for status in refusals if all(one.in_call for one in STATUSES[status])]
    [told] = re.findall(r"is repeated after ([\d, and]+) only", ERRORS.text)
    assert statuses_of(told) == repeated
    [told] = re.findall(r"answered with nothing but ([\d, or]+), twice", page_of("how_it_works").text)
    assert statuses_of(told) == repeated


def test_the_page_on_retries_names_what_is_repeated_in_the_call():
    both, crm_s, asked = re.search(
        r"^Within one try, (.+?) are repeated .+?other status from (\d+) that the customer's CRM gave\. A (\d+) of",
        page_of("how_it_works").text,
        re.M | re.S,
    ).groups()
    repeated = {status for status, row in STATUSES.items() if all(one.in_call for one in row)}
    assert [int(asked)] == [status for status, row in STATUSES.items() if row.of_truto.asks == "is_blocked"]
    assert statuses_of(both) == sorted(repeated - {int(asked)})
    for status, row in [*STATUSES.items(), (499, OTHER), (599, OTHER_SERVER)]:
        expected = (status in repeated, status in repeated or status >= int(crm_s))
        assert (row.of_truto.in_call, row.of_crm.in_call) == expected


@pytest.mark.parametrize("who", Row._fields)
def test_the_page_on_bulks_says_of_each_status_whether_it_may_pass(who):
    told = {
        status: kind
        for failure, kind, _ in BULK.table("a failure")
        if {"of_crm": "of Truto", "of_truto": "of the customer's CRM"}[who] not in failure
        for status in [*statuses_of(failure), *re.findall(r"any other \w+ 500", failure)]
    }
    known = {**STATUSES, "any other below 500": OTHER, "any other from 500": OTHER_SERVER}
    for status, row in known.items():
        kind = told[status if status in told or status < 500 else "any other from 500"]
        ends_task = (status, who) == (401, "of_truto")
        assert kind == ("ends the task" if ends_task else "transient" if getattr(row, who).by_task else "final")
    assert told.keys() <= known.keys()


def test_the_page_on_bulks_names_what_counts_against_a_customer_beside_what_may_pass():
    [told] = re.findall(r"or that are Truto's own ([\w ]+)", BULK.text)
    assert statuses_of(told) == [status for status, row in STATUSES.items() if row.of_truto.is_of_account]
    assert not any(row.of_crm.is_of_account for row in STATUSES.values())


def messages_of_the_package():
    """All texts of the code, those with values in them as well."""
    for path in (ROOT / "airflow_provider_truto").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_message_on_the_page_is_one_of_the_code():
    """So that who searches the page for what a log says finds it."""
    code = "\n".join(messages_of_the_package())
    section = ERRORS.text.partition("## By message")[2].partition("### Airflow's own messages")[0]
    shown = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert len(shown) > 25
    assert [message for message in shown if not all(part in code for part in message.split(" … "))] == []


# ---------------------------------------------------------------------------------------------------- code that runs


@pytest.mark.parametrize("script", HOOK.scripts, ids=range(len(HOOK.scripts)))
def test_the_code_that_is_not_a_dag_runs(script, monkeypatch):
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


def connection_blocks():
    """What the page on the connection shows for an environment, by its heading."""
    found = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```bash environment\n(.*?)```", CONNECTION.text, re.M | re.S)
    assert len(found) == 3
    return [pytest.param(block, id=heading) for heading, block in found]


@pytest.fixture(scope="module")
def airflow():
    """The environment of a real Airflow that tests connections."""
    with airflow_home() as env:
        yield {**env, "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.parametrize("block", connection_blocks())
def test_a_connection_is_read_as_the_page_shows_it(block, airflow):
    with Emulator() as emulator:
        local = emulator.url.removeprefix("http://")
        block = block.replace("<API token>", TOKEN).replace("https://api.truto.one", emulator.url)
        block = block.replace("api.truto.one/", f"{local}/http").replace("443", local.partition(":")[2])
        ask = "airflow connections test truto_default && airflow connections get truto_default -o json"
        done = subprocess.run(
            ["bash", "-euc", f"{block}\n{ask}"], env=airflow, capture_output=True, text=True, check=False
        )
    assert "Connection success!" in done.stdout, done.stderr
    extra = json.loads(done.stdout[done.stdout.rindex("[") :])[0]["extra_dejson"]
    assert (extra["integrated_account_id"], str(extra["timeout"])) == (ACME, "90")


def test_the_customers_of_the_emulator_are_those_of_the_tutorial():
    told = {row[0].strip("`"): row[1].strip("`") for row in TUTORIAL.table("tenant")}
    assert told == {one["tenant_id"]: one["id"] for one in default_seed()["integrated_accounts"]}


@pytest.mark.slow
@pytest.mark.airflow
def test_the_tutorial_does_what_it_says_from_an_empty_folder(tmp_path):
    """All but the installation: the package is there already."""
    script = []
    for block in TUTORIAL.blocks:
        if block.title == "airflow/dags/first_update.py":
            script.append(f"cat > {block.title} <<'DAG'\n{imported_as_here(block.text)}DAG")
        elif block.title in {"step", "mistake"}:
            script.append(f"echo; echo '=== {block.title}'\n{block.text}")
    script = "\n".join(script).replace("8765", str(free_port())).replace("kill %1", "kill $!")
    assert script.count("kill $!") == 1
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}", "no_proxy": "127.0.0.1"}
    log = tmp_path / "log"
    with log.open("w") as output:
        subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, stdout=output, stderr=output, check=True)
    _, _start, look, _set_up, update, mistake, _undo, fail, look_again, change, _stop = re.split(
        "^=== .*$", log.read_text(), flags=re.MULTILINE
    )
    assert '"number_of_employees":120' in look
    assert "PATCH /unified/crm/accounts/23423523" in update
    assert "/body/employees: is not a known field: did you mean `number_of_employees`?" in mistake
    assert fail.count("attempt") > 2
    assert '"number_of_employees":150' in look_again
    assert '"error"' not in change
