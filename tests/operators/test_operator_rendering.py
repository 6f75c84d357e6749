"""What templates become on a real Airflow, in both of its rendering modes."""

from __future__ import annotations

import json
import re

import pytest
from airflow_runs import MODES, before

from airflow_provider_truto.emulator import ACME, GLOBEX

pytestmark = pytest.mark.airflow

both_modes = pytest.mark.parametrize("native", MODES)
PARAMS = {
    "number": 120,
    "ratio": 0.1,
    "yes": True,
    "no": False,
    "nothing": None,
    "phone": "+15550100",
    "scientific": "1e5",
    "zeros": "007",
    "quoted": 'He said "hi" \\ {x}\n',
    "template": "{{ ds }} {% raw %}",
    "list": [1, "two", {"three": 3.0}],
    "object": {"a": {"b": [True, "{{ ds }}"]}},
    "empty": "",
    "empty_list": [],
    "empty_object": {},
    "account": ACME,
}
UPSTREAM = """
    @task(multiple_outputs=True)
    def up():
        return {
            "body": {"name": "{{ ds }} stays", "number_of_employees": "120"},
            "text": '{"name": "{{ ds }} stays"}',
            "n": 5,
            "has": {"nothing": None},  # Airflow 3.0 refuses an XCom of None
            "list": [1, None],
            "name": "{{ ds }} stays",
        }
"""

#: A template, and the JSON that arrives at the CRM; a compiled expression has to match it.
EXPRESSIONS = {
    "int": ("{{ params.number }}", 120),
    "float": ("{{ params.ratio }}", 0.1),
    "true": ("{{ params.yes }}", True),
    "false": ("{{ params.no }}", False),
    "phone": ("{{ params.phone }}", "+15550100"),
    "phone written": ("{{ '+15550100' }}", "+15550100"),
    "scientific": ("{{ params.scientific }}", "1e5"),
    "scientific written": ("1e5", "1e5"),
    "zeros": ("{{ params.zeros }}", "007"),
    "zeros written": ("007", "007"),
    "list": ("{{ params.list }}", [1, "two", {"three": 3.0}]),
    "object": ("{{ params.object }}", {"a": {"b": [True, "{{ ds }}"]}}),
    "list written": ("{{ [1, 'a'] }}", [1, "a"]),
    "empty list": ("{{ params.empty_list }}", []),
    "empty text": ("{{ params.empty }}", ""),
    "zero": ("{{ params.number - 120 }}", 0),
    "cast to text": ("{{ params.number | string }}", "120"),
    "cast to int": ("{{ params.zeros | int }}", 7),
    "json": ("{{ params.list | tojson }}", '[1, "two", {"three": 3.0}]'),
    "default": ("{{ missing_name | default(5) }}", 5),
    "datetime": ("{{ dag_run.logical_date }}", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z")),
    "date": ("{{ ds }}", re.compile(r"\d{4}-\d\d-\d\d")),
    "run": ("{{ run_id }}", re.compile(r"manual__.+")),
    "task": ("{{ task.task_id }}", "update"),
    "macro": ("{{ macros.ds_add('2026-01-31', 1) }}", "2026-02-01"),
    "variable": ("{{ var.value.region }}", "emea"),
    "variable as json": ("{{ var.json.limits }}", {"seats": 5}),
    "xcom": ("{{ ti.xcom_pull(task_ids='up')['n'] }}", 5),
    "xcom with a template in it": ("{{ ti.xcom_pull(task_ids='up')['name'] }}", "{{ ds }} stays"),
    "spaces around": ("  {{ params.number }}  ", 120),
    "mixed": ("n={{ params.number }}", "n=120"),
    "two": ("{{ params.number }}{{ params.number }}", "120120"),
    "looks like a list": ("[{{ params.number }}]", "[120]"),
    "looks like a number": ("1{{ params.number }}", "1120"),
    "looks like none": ("{{ 'No' }}ne", "None"),
    "text set inside": ("{% set x %}1e5{% endset %}{{ x }}", "1e5"),
    "text of a macro": ("{% macro m() %}007{% endmacro %}{{ m() }}", "007"),
    "text of a filter": ("{% filter trim %} 1e5 {% endfilter %}", "1e5"),
    "mixed with data that is a template": ("x {{ params.template }}", "x {{ ds }} {% raw %}"),
    "mixed with quotes": ("{{ params.quoted }}!", 'He said "hi" \\ {x}\n!'),
    "statement": ("{% if params.yes %}yes{% else %}no{% endif %}", "yes"),
    "raw": ("{% raw %}{{ ds }}{% endraw %}", "{{ ds }}"),
    "no template": ("[1, 2]", "[1, 2]"),
    "nested": ({"a": ["{{ params.number }}", {"b": "{{ params.yes }}"}]}, {"a": [120, {"b": True}]}),
}


@pytest.fixture(scope="module", params=MODES)
def arrived(request, one_airflow, truto):
    truto.reset()
    templates = {name: template for name, (template, _) in EXPRESSIONS.items()}
    run = one_airflow.run(
        UPSTREAM + f"    up() >> update(body={{'custom_fields': {templates!r}}}, verify=None)",
        params=PARAMS,
        native=request.param,
    )
    assert run.state == "success", run.log[-5000:]
    (execution,) = truto.executions
    return execution["body"]["custom_fields"]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_lone_expression_keeps_its_type_and_all_else_is_text(arrived, name):
    expected = EXPRESSIONS[name][1]
    if isinstance(expected, re.Pattern):
        assert expected.fullmatch(arrived[name])
    else:
        assert json.dumps(arrived[name], sort_keys=True) == json.dumps(expected, sort_keys=True)


@both_modes
def test_a_lone_expression_may_be_any_of_the_other_arguments(airflow, emulator, native):
    run = airflow.run(
        """
        update(
            truto_conn_id="{{ 'truto' }}_default",
            account_id="{{ 23423524 }}",
            integrated_account_id="{{ params.account }}",
            body={"name": "x", "health": 1},
            response_format="{{ 'norm' }}alized",
            exclude_fields="{{ ['tags', 'urls'] }}",
            remote_query={"page": "{{ params.number }}", "deep": {"yes": "{{ params.yes }}"}},
            extra_fields=["{{ 'health' }}"],
            idempotency_key="key-{{ params.number }}",
        )
        """,
        params=PARAMS,
        native=native,
    )
    assert run.state == "success", run.log[-5000:]
    (request,) = emulator.requests
    assert request["path"] == ["unified", "crm", "accounts", "23423524"]
    assert request["query"] == [
        ["integrated_account_id", ACME],
        ["truto_response_format", "normalized"],
        ["truto_ignore_remote_data", "true"],
        ["truto_exclude_fields[]", "tags"],
        ["truto_exclude_fields[]", "urls"],
        ["remote_query[page]", "120"],
        ["remote_query[deep][yes]", "true"],
    ]
    assert request["headers"]["idempotency-key"] == "key-120"


#: The arguments of a task, and the body that arrives.
BODIES = {
    "a dict": ("body={'name': '{{ params.phone }}', 'number_of_employees': '{{ params.number }}'}", None),
    "a number in text": (
        "body={'number_of_employees': '120', 'name': '120'}",
        {"number_of_employees": 120, "name": "120"},
    ),
    "text of a number": (
        "body={'number_of_employees': '{{ params.number }}0'}",
        {"number_of_employees": 1200},
    ),
    "an id as a number": ("body={'owner': {'id': '{{ params.number }}'}}", {"owner": {"id": "120"}}),
    "json text": (
        """body='{"name": "{{ params.quoted }}", "number_of_employees": "{{ params.number }}"}'""",
        {"name": PARAMS["quoted"], "number_of_employees": 120},
    ),
    "json text with a bare expression": (
        """body='{"name": {{ params.quoted | tojson }}, "number_of_employees": {{ params.number }}}'""",
        {"name": PARAMS["quoted"], "number_of_employees": 120},
    ),
    "json text with a null of the author": (
        """body='{"description": null, "name": "x"}'""",
        {"description": None, "name": "x"},
    ),
    "text by a statement": ("""body='{% if params.yes %}{"name": "x"}{% endif %}'""", {"name": "x"}),
    "a lone expression": (
        "body='{{ params.object_of_fields }}'",
        {"name": "{{ ds }} stays", "number_of_employees": 5},
    ),
    "a pulled xcom": (
        """body="{{ ti.xcom_pull(task_ids='up')['body'] }}" """,
        {"name": "{{ ds }} stays", "number_of_employees": 120},
    ),
    "a pulled xcom of json text": (
        """body="{{ ti.xcom_pull(task_ids='up')['text'] }}" """,
        {"name": "{{ ds }} stays"},
    ),
    "an XComArg": ("body=upstream['body']", {"name": "{{ ds }} stays", "number_of_employees": 120}),
    "an XComArg of json text": ("body=upstream['text']", {"name": "{{ ds }} stays"}),
    "an XComArg inside": (
        "body={'name': upstream['name'], 'custom_fields': {'n': upstream['n'], 'd': '{{ params.number }}'}}",
        {"name": "{{ ds }} stays", "custom_fields": {"n": 5, "d": 120}},
    ),
    "a literal": (
        "body={'name': literal('{{ ds }} stays'), 'number_of_employees': '{{ params.number }}'}",
        {"name": "{{ ds }} stays", "number_of_employees": 120},
    ),
    "a whole literal": ("body=literal({'name': '{{ ds }} stays'})", {"name": "{{ ds }} stays"}),
    "keys": ("body={'custom_fields': {'{{ ds }}': 1}}", {"custom_fields": {"{{ ds }}": 1}}),
    "a tuple": ("body={'tags': ({'name': '{{ params.phone }}'},)}", {"tags": [{"name": "+15550100"}]}),
    "a datetime": (
        "body={'created_at': datetime(2026, 1, 31, 12, tzinfo=timezone.utc)}",
        {"created_at": "2026-01-31T12:00:00.000Z"},
    ),
    "a literal None": (
        "body={'description': None, 'owner': {'id': None}, 'addresses': [{'city': None}], 'name': 'x'}",
        {"description": None, "owner": {"id": None}, "addresses": [{"city": None}], "name": "x"},
    ),
    "a literal None under omit": (
        "body={'description': None, 'website': '{{ none }}'}, on_none='omit'",
        {"description": None},
    ),
    "a file": (
        "body_file='{{ params.folder }}/body.json'",
        {
            "name": PARAMS["quoted"],
            "number_of_employees": 120,
            "description": None,
            "custom_fields": {"flag": True, "text": "n=120", "list": [1, "two", {"three": 3.0}], "{{ ds }}": 1.5},
        },
    ),
}
BODIES["a dict"] = (BODIES["a dict"][0], {"name": "+15550100", "number_of_employees": 120})
BODY_FILE = """
{
  "name": "{{ params.quoted }}",
  "number_of_employees": "{{ params.number }}",
  "description": null,
  "custom_fields": {
    "flag": "{{ params.yes }}",
    "text": "n={{ params.number }}",
    "list": "{{ params.list }}",
    "{{ ds }}": 1.5
  }
}
"""


@pytest.fixture(scope="module", params=MODES)
def bodies(request, one_airflow, truto):
    truto.reset()
    tasks = [
        f"    upstream >> update('t{number}', idempotency_key='t{number}', verify=None, {arguments})"
        for number, (arguments, _) in enumerate(BODIES.values())
    ]
    run = one_airflow.run(
        "\n".join([UPSTREAM, "    upstream = up()", *tasks]),
        params={
            **PARAMS,
            "folder": "bodies",
            "object_of_fields": {"name": "{{ ds }} stays", "number_of_employees": 5},
        },
        native=request.param,
        files={"bodies/body.json": BODY_FILE},
    )
    return run, {execution["idempotency_key"]: execution["body"] for execution in truto.executions}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of_any_kind_arrives_as_it_was_meant(bodies, name):
    run, arrived = bodies
    task_id = f"t{list(BODIES).index(name)}"
    assert run[task_id].failures == []
    assert arrived[task_id] == BODIES[name][1]


NOTHING = """
    upstream >> update(
        "{way}",
        on_none="{way}",
        idempotency_key="{way}",
        verify=None,
        retries=2,
        body={{
            "name": "Acme",
            "website": "{{{{ ti.xcom_pull(task_ids='nobody') }}}}",
            "industry": "{{{{ params.industry | default(none) }}}}",
            "description": "{{{{ params.nothing }}}}",
            "number_of_employees": "{{{{ params.get('size') }}}}",
            "owner": {{"id": "{{{{ none }}}}"}},
            "addresses": [{{"city": "{{{{ ti.xcom_pull(task_ids='up')['has']['nothing'] }}}}"}}, {{"city": "Pune"}}],
            "custom_fields": {{
                "list": "{{{{ ti.xcom_pull(task_ids='up')['list'] }}}}", "text": "x{{{{ params.nothing }}}}"
            }},
        }},
    )
"""


@pytest.fixture(scope="module", params=MODES)
def nothings(request, one_airflow, truto):
    truto.reset()
    ways = [NOTHING.format(way=way) for way in ("error", "omit", "null")]
    run = one_airflow.run(UPSTREAM + "    upstream = up()\n" + "".join(ways), params=PARAMS, native=request.param)
    return run, {execution["idempotency_key"]: execution["body"] for execution in truto.executions}


def test_what_came_of_nothing_is_by_default_an_error_that_names_every_place(nothings):
    run, arrived = nothings
    assert "error" not in arrived
    assert run["error"].tries == 1
    lines = run["error"].failure["message"].splitlines()
    assert lines[0] == "the update of crm/accounts '23423523' is not valid: 8 problems, nothing was sent."
    assert [line.split(":")[0] for line in lines[1:]] == [
        "  /body/website",
        "  /body/industry",
        "  /body/description",
        "  /body/number_of_employees",
        "  /body/owner/id",
        "  /body/addresses/0/city",
        "  /body/custom_fields/list/1",
        "  /body/custom_fields/text",
    ]
    assert "{{ params.nothing }} is None" in lines[3]
    assert "{{ params.nothing }}: a part of it is None" in lines[8].replace("x{{", "{{")
    assert all("on_none='omit'" in line for line in lines[1:])


def test_what_came_of_nothing_is_left_out_where_that_is_wanted(nothings):
    run, arrived = nothings
    assert run["omit"].failures == []
    assert arrived["omit"] == {"name": "Acme", "addresses": [{"city": "Pune"}], "custom_fields": {"list": [1]}}


def test_what_came_of_nothing_is_sent_as_null_where_that_is_wanted(nothings):
    run, arrived = nothings
    assert run["null"].failures == []
    assert arrived["null"] == {
        "name": "Acme",
        "website": None,
        "industry": None,
        "description": None,
        "number_of_employees": None,
        "owner": {"id": None},
        "addresses": [{"city": None}, {"city": "Pune"}],
        "custom_fields": {"list": [1, None], "text": None},
    }


def test_the_rendered_fields_that_airflow_shows_say_what_was_missing(nothings):
    run, _ = nothings
    shown = json.dumps(run["omit"].rendered["body"])
    assert "<missing: {{ params.nothing }} is None>" in shown
    assert "<missing: x{{ params.nothing }}: a part of it is None>" in shown
    assert "Acme" in shown


#: A template with a name that does not exist, and what is said of it.
UNKNOWN = {
    "{{ params.indstry }}": "'indstry' is unknown: did you mean 'industry'?",
    "{{ params['indstry'] }}": "'indstry' is unknown: did you mean 'industry'?",
    "{{ indstry }}": "'indstry' is unknown",
    "{{ indstry.name.first }}": "'indstry' is unknown",
    "{{ ti.xcom_pull('mispelt')['industry'] }}": "'industry' is asked of None",
    "{{ ti.xcom_pull('mispelt').industry.name }}": "'industry' is asked of None",
    "{{ dag_run.conf.indstry }}": "'indstry' is unknown: did you mean 'industry'?",
    "x {{ params.indstry }}": "'indstry' is unknown: did you mean 'industry'?",
    "{% if params.indstry %}x{% endif %}": "'indstry' is unknown: did you mean 'industry'?",
}


@both_modes
@pytest.mark.parametrize("undefined", ["StrictUndefined", "Undefined"])
def test_a_name_that_does_not_exist_fails_whatever_on_none_says(airflow, emulator, native, undefined):
    fields = {"custom_fields": {"list": list(UNKNOWN)}, "tags": [{"name": "{{ params.indstry }}"}]}
    run = airflow.run(
        f"""
        import jinja2
        dag.template_undefined = jinja2.{undefined}
        for way in ("error", "omit", "null"):
            update(way, on_none=way, body={fields!r}, retries=2)
        """,
        params={"industry": "Aerospace"},
        conf={"industry": "Aerospace"},
        native=native,
    )
    assert emulator.requests == []
    for way in ("error", "omit", "null"):
        assert run[way].tries == 1
        lines = run[way].failure["message"].splitlines()[1:]
        for line, (number, (template, told)) in zip(lines, enumerate(UNKNOWN.items()), strict=False):
            told += "" if told.endswith("?") else "."
            assert line.startswith(f"  /body/custom_fields/list/{number}: {template}: {told} Where a value may be")
        assert lines[-1].startswith("  /body/tags/0/name: {{ params.indstry }}: 'indstry' is unknown")
        assert len(lines) == len(UNKNOWN) + 1


@pytest.mark.skipif(before("3.0"), reason="every run of Airflow 2 has a logical date")
def test_a_run_without_a_logical_date_says_that_of_its_dates(airflow, emulator):
    run = airflow.run(
        """
        update("dates", on_none="omit", body={
            "name": "{{ ds }}",
            "description": "since {{ data_interval_start | ts }}",
            "website": "{{ ts }}",
        })
        update("none", body={"name": "{{ dag_run.logical_date }}"})
        update("every", body={
            "name": "{{ run_id }}", "description": "{{ dag_run.run_after | ds }} {{ dag_run.start_date | ds }}"
        })
        """,
        is_dated=False,
    )
    lines = run["dates"].failure["message"].splitlines()[1:]
    assert len(lines) == 3
    for line in [*lines, run["none"].failure["message"]]:
        assert "a run without a logical date has none" in line
        assert "run_id" in line
    (execution,) = emulator.executions
    assert execution["body"]["name"] == run.run_id
    assert re.fullmatch(r"20\d\d-\d\d-\d\d 20\d\d-\d\d-\d\d", execution["body"]["description"])


@both_modes
def test_text_and_numbers_of_an_enum_are_written_as_their_values(airflow, emulator, native):
    run = airflow.run(
        """
        from enum import Enum, IntEnum

        class Tier(str, Enum):
            GOLD = "gold"

        class Level(int, Enum):
            HIGH = 3

        class Rank(IntEnum):
            FIRST = 1

        dag.user_defined_macros = {"tier": Tier.GOLD, "level": Level.HIGH}
        update(
            account_id=Enum("Record", {"ACME": 23423523}, type=int).ACME,
            truto_conn_id=Enum("Conn", {"DEFAULT": "truto_default"}, type=str).DEFAULT,
            body={
                "name": Tier.GOLD,
                "number_of_employees": Level.HIGH,
                "owner": {"id": Level.HIGH},
                "tags": [{"id": Rank.FIRST, "name": "{{ tier }}"}],
                "custom_fields": {Tier.GOLD: "{{ level }}", "text": "{{ tier }} of {{ level }}", "x": [Tier.GOLD]},
            },
            idempotency_key=Tier.GOLD,
            verify=None,
        )
        """,
        native=native,
    )
    assert run.update.failures == []
    (execution,) = emulator.executions
    assert (execution["record_id"], execution["idempotency_key"]) == ("23423523", "gold")
    assert execution["body"] == {
        "name": "gold",
        "number_of_employees": 3,
        "owner": {"id": "3"},
        "tags": [{"id": "1", "name": "gold"}],
        "custom_fields": {"gold": 3, "text": "gold of 3", "x": ["gold"]},
    }


def test_values_of_numpy_and_pandas_come_out_of_an_xcom_as_numbers_and_nothing(airflow, emulator):
    pytest.importorskip("pandas")
    run = airflow.run(
        """
        import numpy as np
        import pandas as pd

        dag.user_defined_macros = {"nan": np.float64("nan"), "nat": pd.NaT, "na": pd.NA}

        @task(multiple_outputs=True)
        def up():
            return {
                "account_id": np.int64(23423523),
                "size": np.int64(7),
                "fields": {"a": np.float64(1.5), "b": np.bool_(False), "c": np.float32(0.5)},
            }

        given = up()
        update(
            account_id=given["account_id"],
            body={
                "number_of_employees": given["size"],
                "custom_fields": given["fields"],
                "description": "{{ nan }}",
                "industry": "{{ nat }}",
                "website": "{{ na }}",
            },
            on_none="null",
            verify=None,
        )
        """
    )
    assert run.state == "success", run.log[-3000:]
    (execution,) = emulator.executions
    assert execution["record_id"] == "23423523"
    assert execution["body"] == {
        "number_of_employees": 7,
        "custom_fields": {"a": 1.5, "b": False, "c": 0.5},
        "description": None,
        "industry": None,
        "website": None,
    }


def test_the_rendered_fields_that_airflow_shows_are_what_is_sent(airflow):
    run = airflow.run(
        "update(body={'name': '{{ params.phone }}', 'number_of_employees': '{{ params.number }}'})", params=PARAMS
    )
    assert run.update.rendered["body"] == {"name": "+15550100", "number_of_employees": 120}
    assert run.update.rendered["integrated_account_id"] == ACME
    assert run.update.rendered["account_id"] == "23423523"


NOBODY = {
    "none": '"{{ none }}"',
    "an undefined name": '"{{ missing_name }}"',
    "an undefined attribute": '"{{ missing_name.id }}"',
    "an empty param": '"{{ params.empty }}"',
    "an empty param without spaces": '"{{params.empty}}"',
    "a param that is missing": '"{{ params.nothing }}"',
    "a missing xcom": "\"{{ ti.xcom_pull(task_ids='nobody') }}\"",
    "white space": '" "',
    "a literal None": "None",
    "an empty literal": '""',
    "text of an undefined name": '"acae-{{ missing_name }}"',
    "the word None": "\"{{ none }}{{ '' }}\"",
    "false": '"{{ params.no }}"',
    "zero": '"{{ 0 }}"',
    "an empty list": '"{{ params.empty_list }}"',
}


@pytest.fixture(scope="module", params=MODES)
def nobodies(request, one_airflow, truto):
    truto.reset()
    tasks = [
        f"update('t{number}', truto_conn_id='of_globex', account_id='70010001', integrated_account_id={expression},"
        " body={'name': 'x'}, on_none='omit')"
        for number, expression in enumerate(NOBODY.values())
    ]
    return one_airflow.run("\n".join(tasks), params=PARAMS, native=request.param), truto.requests


@pytest.mark.parametrize("name", NOBODY)
def test_a_customer_that_renders_to_nothing_never_becomes_the_connections_default(nobodies, name):
    run, requests = nobodies
    assert requests == []
    failure = run[f"t{list(NOBODY).index(name)}"].failure
    assert failure["type"] == "AirflowFailException"
    assert "/integrated_account_id: " in failure["message"]


def test_a_customer_that_is_left_out_is_the_connections_default(airflow, emulator):
    run = airflow.run(
        """
        TrutoUpdateAccountOperator(
            task_id="update", truto_conn_id="of_globex", account_id="70010001", body={"name": "x"}
        )
        """
    )
    assert run.state == "success"
    assert [execution["integrated_account_id"] for execution in emulator.executions] == [GLOBEX]


def test_a_customer_of_the_default_args_counts_as_given(airflow, emulator):
    run = airflow.run(
        """
        dag.default_args = {"integrated_account_id": "{{ params.nothing }}", "truto_conn_id": "of_globex"}
        TrutoUpdateAccountOperator(task_id="update", account_id="70010001", body={"name": "x"}, **dag.default_args)
        """,
        params=PARAMS,
    )
    assert emulator.requests == []
    assert "/integrated_account_id: {{ params.nothing }} is None" in run.update.failure["message"]


#: An argument that renders to something falsy, and whether the task may run then. None of these may stay a template.
FALSY = {
    "account_id": ("account_id='{{params.empty}}'", False),
    "account_id of none": ("account_id='{{params.nothing}}'", False),
    "idempotency_key": ("idempotency_key='{{params.empty}}'", False),
    "idempotency_key of none": ("idempotency_key='{{params.nothing}}'", False),
    "response_format": ("response_format='{{params.empty}}'", False),
    "exclude_fields": ("exclude_fields='{{params.empty_list}}'", True),
    "extra_fields": ("extra_fields='{{params.empty_list}}'", True),
    "remote_query": ("remote_query='{{params.empty_object}}'", True),
    "remote_query of none": ("remote_query='{{params.nothing}}'", False),
    "body": ("body='{{params.empty_object}}'", False),
    "body of none": ("body='{{params.nothing}}'", False),
    "body of empty text": ("body='{{params.empty}}'", False),
    "body omitted": ("body='{{params.nothing}}', on_none='omit'", False),
    "body omitted without a schema": ("body='{{params.nothing}}', on_none='omit', schema=None", False),
    "all fields omitted": ("body={'name': '{{params.nothing}}'}, on_none='omit'", False),
    "all fields omitted without a schema": (
        "body={'name': '{{params.nothing}}'}, on_none='omit', schema=None",
        False,
    ),
    "truto_conn_id": ("truto_conn_id='{{params.empty}}'", False),
    "truto_conn_id of none": ("truto_conn_id='{{params.nothing}}'", False),
    "output_path of none": ("output_path='{{params.nothing}}', response_format='stream'", False),
    "output_path": ("output_path='{{params.empty}}', response_format='stream'", False),
}


@pytest.fixture(scope="module", params=MODES)
def falsy(request, one_airflow, truto):
    truto.reset()
    tasks = [
        f"update('t{number}', **{{'body': {{'name': 't{number}'}}, 'retries': 1, **dict({arguments})}})"
        for number, (arguments, _) in enumerate(FALSY.values())
    ]
    run = one_airflow.run("\n".join(tasks), params=PARAMS, native=request.param)
    stray = [path for path in one_airflow.home.rglob("*") if "params." in path.name]
    return run, truto.requests, stray


@pytest.mark.parametrize("name", FALSY)
def test_an_argument_that_renders_to_nothing_is_nothing_and_no_template(falsy, name):
    run, requests, stray = falsy
    task = run[f"t{list(FALSY).index(name)}"]
    sent = [request for request in requests if request["body"] == {"name": f"t{list(FALSY).index(name)}"}]
    wire = json.dumps([[request["path"], request["query"], request["headers"]] for request in sent])
    assert "params." not in wire
    assert stray == []
    if FALSY[name][1]:
        assert task.failures == []
        assert len(sent) == 1
    else:
        assert task.failure["type"] == "AirflowFailException"
        assert sent == []


def test_nothing_but_right_bodies_was_sent_for_arguments_that_render_to_nothing(falsy):
    _, requests, _ = falsy
    assert all(isinstance(request["body"], dict) and request["body"].get("name") for request in requests)


def test_a_connection_that_renders_to_nothing_is_named_as_the_problem(falsy):
    run, _, _ = falsy
    for name in ("truto_conn_id", "truto_conn_id of none"):
        assert "truto_conn_id" in run[f"t{list(FALSY).index(name)}"].failure["message"]


#: A file, and what the task fails with.
FILES = {
    "absent.json": (None, "body_file 'absent.json' was not found in "),
    "invalid.json": ("{'name': 'x'}", "body_file 'invalid.json' is not JSON"),
    "bare.json": ('{"number_of_employees": {{ params.number }}}', "body_file 'bare.json' is not JSON"),
    "empty.json": ("", "body_file 'empty.json' is not JSON"),
    "doubled.json": ('{"name": "a", "name": "b"}', "an object names 'name' more than once"),
    "exact.json": (
        '{"custom_fields": {"rev": 1234567890123456.78}}',
        "/body/custom_fields/rev: the number 1234567890123456.78 is not held exactly by a double",
    ),
    "list.json": ('[{"name": "x"}]', "/body: expects an object, got an array"),
    "text.json": ('"x"', "/body: expects an object"),
    "null.json": ("null", "/body: expects an object"),
    "wrong.json": ('{"nme": "x", "number_of_employees": "many"}', "did you mean `name`?"),
    "../outside.json": (None, "body_file '../outside.json' was not found in "),
}


@pytest.fixture(scope="module")
def files(one_airflow, truto):
    truto.reset()
    tasks = [f"update('t{number}', body_file={name!r}, retries=2)" for number, name in enumerate(FILES)]
    tasks.append("update('nothing', body_file='{{ params.nothing }}', retries=2)")
    run = one_airflow.run(
        "\n".join(tasks), params=PARAMS, files={name: text for name, (text, _) in FILES.items() if text is not None}
    )
    return run, truto.requests


@pytest.mark.parametrize("name", FILES)
def test_a_body_file_that_cannot_be_used_fails_the_first_try_and_says_why(files, name):
    run, requests = files
    task = run[f"t{list(FILES).index(name)}"]
    assert task.failure["type"] == "AirflowFailException"
    assert FILES[name][1] in task.failure["message"]
    assert (task.state, task.tries) == ("failed", 1)
    assert requests == []


def test_a_body_file_whose_name_renders_to_nothing_says_so(files):
    run, _ = files
    assert "{{ params.nothing }} is None" in run["nothing"].failure["message"]
    assert run["nothing"].tries == 1


def test_a_body_file_is_found_on_the_search_path_of_the_dag(airflow, emulator, tmp_path):
    (tmp_path / "shared.json").write_text('{"name": "{{ params.phone }}"}')
    run = airflow.run(
        f"dag.template_searchpath = [{str(tmp_path)!r}]\nupdate(body_file='shared.json')", params=PARAMS
    )
    assert run.state == "success", run.log[-3000:]
    assert emulator.executions[0]["body"] == {"name": "+15550100"}


def test_the_outcome_of_a_body_files_name_is_not_a_template(airflow, emulator):
    """The name came from data: what looks like a template in it must not be rendered again."""
    run = airflow.run(
        "update(body_file='{{ params.file }}')",
        params={"file": "{{ 1 + 1 }}.json"},
        files={"{{ 1 + 1 }}.json": '{"name": "right"}', "2.json": '{"name": "wrong"}'},
    )
    assert run.state == "success", run.log[-3000:]
    assert emulator.executions[0]["body"] == {"name": "right"}


def test_an_error_inside_of_a_template_fails_the_task_as_any_template_error_does(airflow, emulator):
    run = airflow.run("update(body={'name': '{{ 1 // 0 }}'})")
    assert run.update.failure["type"] == "ZeroDivisionError"
    assert emulator.requests == []


def test_a_schema_is_never_rendered(airflow, emulator):
    run = airflow.run(
        """
        update(
            body={"name": "{{ ds }}", "x": "{{ params.number }}"},
            schema={"properties": {"name": {"not": {"const": "{{ ds }}"}}, "x": {"type": "integer"}}},
        )
        """,
        params=PARAMS,
    )
    assert run.state == "success", run.log[-3000:]
    assert emulator.executions[0]["body"]["x"] == 120


@pytest.mark.parametrize("path", ["tier.json", "schemas/tier.json"])
def test_a_schema_lies_beside_the_dag_file(airflow, emulator, path):
    run = airflow.run(
        f"update(body={{'tier': 'bronze'}}, schema={path!r})",
        files={path: '{"properties": {"tier": {"enum": ["gold"]}}}'},
    )
    assert "/body/tier: expects one of \"gold\", got the text 'bronze'" in run.update.failure["message"]
    assert emulator.requests == []


def test_a_schema_that_cannot_be_found_fails_the_first_try(airflow, emulator):
    run = airflow.run("update(body={'name': 'x'}, schema='absent.json', retries=2)")
    assert "absent.json" in run.update.failure["message"]
    assert (run.update.state, run.update.tries) == ("failed", 1)
    assert emulator.requests == []
