"""``@task.truto_update_account`` on a real Airflow: what a function returns is written as the operator writes it."""

from __future__ import annotations

import pytest
from airflow_runs import before

pytestmark = pytest.mark.airflow

DECORATED = """
@task.truto_update_account(integrated_account_id=ACME, retry_delay=timedelta(0), {arguments})
{function}

update({call})
"""
RETURNS_BODY = 'def update():\n    return {"name": "x"}'


def decorated(function=RETURNS_BODY, arguments="account_id=RECORD", call=""):
    return DECORATED.format(function=function, arguments=arguments, call=call)


def written(emulator):
    made = [entry for entry in emulator.executions if entry["method"] != "GET"]
    return [(entry["record_id"], entry["body"]) for entry in made]


#: A function, the decorator's arguments, those of the call, and what is written.
WRITES = {
    "a body": ({}, {"name": "x"}),
    "an id and a body": (
        {"function": 'def update():\n    return RECORD, {"name": "x"}', "arguments": ""},
        {"name": "x"},
    ),
    "a number as id": (
        {"function": 'def update():\n    return int(RECORD), {"name": "x"}', "arguments": ""},
        {"name": "x"},
    ),
    "JSON text": ({"function": 'def update():\n    return \'{"name": "x"}\''}, {"name": "x"}),
    "typed": (
        {"function": 'def update():\n    return {"number_of_employees": "7"}'},
        {"number_of_employees": 7},
    ),
    "an annotated body": (
        {"function": 'def update() -> dict[str, str]:\n    return {"name": "x"}'},
        {"name": "x"},
    ),
    "a coroutine": ({"function": 'async def update():\n    return {"name": "x"}'}, {"name": "x"}),
    "arguments and context": (
        {
            "function": 'def update(one, *, by, ti=None, **more):\n    return {"name": f"{one} {by} {ti.task_id}"}',
            "call": '"{{ 6 * 7 }}", by="{{ params.by }}"',
        },
        {"name": "42 y update"},
    ),
    "templates in what is returned": (
        {"function": 'def update():\n    return {"name": "{{ 6 * 7 }}", "description": "{% x"}'},
        {"name": "{{ 6 * 7 }}", "description": "{% x"},
    ),
    "none is omitted": (
        {
            "function": 'def update():\n    return {"name": "x", "website": None}',
            "arguments": 'account_id=RECORD, on_none="omit"',
        },
        {"name": "x"},
    ),
    "templated arguments": (
        {
            "arguments": "account_id='{{ task.op_kwargs[\"record\"] }}'",
            "function": 'def update(record):\n    return {"name": "x"}',
            "call": 'record="{{ params.record }}"',
        },
        {"name": "x"},
    ),
}


@pytest.mark.parametrize(("given", "body"), WRITES.values(), ids=WRITES)
def test_what_a_function_returns_is_written(airflow, emulator, given, body):
    run = airflow.run(decorated(**given), params={"by": "y", "record": "23423523"})
    assert run.state == "success", run.log[-4000:]
    assert written(emulator) == [("23423523", body)]
    assert run.update.xcom["return_value"]["id"] == "23423523"
    assert run.update.xcom["truto"]["status"] == 200
    assert set(run.update.xcom) == {"return_value", "truto"}


def test_airflow_shows_the_body_that_was_written(airflow, emulator):
    rendered = airflow.run(decorated()).update.rendered
    assert rendered["account_id"] == "23423523"
    assert rendered["body"] == ("<what the function returns>" if before("3.0") else {"name": "x"})


#: What is wrong, and what the one try says of it.
REFUSED = {
    "nothing": (
        {"function": "def update():\n    pass"},
        "1 problem, nothing was sent.\n  /body: the function returned None; where nothing",
    ),
    "a none": (
        {"function": 'def update():\n    return {"website": None}'},
        "/body/website: what the function returned → website is None",
    ),
    "an unknown field": ({"function": 'def update():\n    return {"web": "x"}'}, "/body/web: is not a known field"),
    "no id": ({"arguments": ""}, "/account_id: is missing: give it to the decorator, or have the function return"),
    "two ids": (
        {"function": 'def update():\n    return RECORD, {"name": "x"}'},
        "1 problem, nothing was sent.\n  /account_id: is given to the decorator, and the function returned one",
    ),
    "an id that is None": (
        {"function": 'def update():\n    return None, {"name": "x"}', "arguments": ""},
        "/account_id: what the function returned is None",
    ),
    "three things": (
        {"function": 'def update():\n    return RECORD, {"name": "x"}, 1', "arguments": ""},
        "/account_id: is missing",
    ),
    "a list": ({"function": "def update():\n    return [1]"}, "/body: expects an object"),
}


@pytest.mark.parametrize(("given", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_written_fails_once_and_is_not_sent(airflow, emulator, given, said):
    run = airflow.run(
        decorated(**{**given, "arguments": "retries=2, " + given.get("arguments", "account_id=RECORD")})
    )
    assert (run.state, run.update.tries) == ("failed", 1)
    assert said in run.update.failure["message"]
    assert run.update.xcom["truto"]["error"] == "schema"
    assert written(emulator) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("body={'name': 'x'}", "body: is not an argument here: the function returns it"),
        ("body_file='x.json'", "body_file: is not an argument here"),
        ("verify='loudly'", "verify: expects one of"),
    ],
)
def test_what_can_never_be_right_fails_while_the_file_is_parsed(arguments, said):
    from airflow_provider_truto.decorators.accounts import truto_update_account_task

    with pytest.raises(ValueError, match=said):
        truto_update_account_task(lambda row: row, task_id="update", **eval(f"dict({arguments})"))("x")


def test_a_function_may_skip_its_task(airflow, emulator):
    function = """
def update():
    from airflow_provider_truto._compat import AirflowSkipException
    raise AirflowSkipException("nothing to write")
"""
    assert airflow.run(decorated(function)).update.state == "skipped"
    assert written(emulator) == []


def test_a_retry_repeats_the_write_under_one_key(airflow, emulator):
    emulator.fault(method="PATCH", reset="after")
    run = airflow.run(decorated('def update():\n    return RECORD, {"name": "x"}', arguments="retries=1"))
    assert (run.state, run.update.tries) == ("success", 2)
    assert written(emulator) == [("23423523", {"name": "x"})]
    run = run.again()
    assert run.state == "success"
    assert len(written(emulator)) == 2


MAPPED = """
@task
def rows():
    return [{{"record": RECORD, "name": "{{{{ 6 * 7 }}}}"}}, {{"record": "23423524", "name": None}}]

@task.truto_update_account(integrated_account_id="{{{{ params.customer }}}}", on_none="omit", retries=1,
                           retry_delay=timedelta(0))
def update({parameters}, note=None):
    return {record}, {{"name": {name}, "description": str(note)}}

update{call}
"""
ROW = {"parameters": "row", "record": 'row["record"]', "name": 'row["name"]'}
CELLS = {"parameters": "record, name", "record": "record", "name": "name"}


@pytest.mark.parametrize(
    "mapped",
    [
        {**ROW, "call": '.partial(note="{{ 1 + 1 }}").expand(row=rows())'},
        {**CELLS, "call": '.partial(note="{{ 1 + 1 }}").expand_kwargs(rows())'},
        {**CELLS, "call": '.override(task_id="update", retries=2).partial(note="{{ 1 + 1 }}").expand_kwargs(rows())'},
    ],
    ids=["expand", "expand_kwargs", "override"],
)
def test_rows_of_another_task_are_data_and_the_author_s_templates_are_rendered(airflow, emulator, mapped):
    emulator.fault(method="PATCH", path="23423524$", reset="after")
    run = airflow.run(MAPPED.format(**mapped), params={"customer": "acae0000-0000-4000-8000-000000000001"})
    assert run.state == "success", run.log[-6000:]
    assert [run[f"update[{index}]"].tries for index in (0, 1)] == [1, 2]
    assert sorted(written(emulator)) == [
        ("23423523", {"name": "{{ 6 * 7 }}", "description": "2"}),
        ("23423524", {"description": "2"}),
    ]


def test_rows_that_stand_in_the_dag_file_are_rendered(airflow, emulator):
    run = airflow.run("""
        @task.truto_update_account(account_id=RECORD, integrated_account_id=ACME)
        def update(name):
            return {"name": name}

        update.expand(name=["{{ 6 * 7 }} seats"])
    """)
    assert run.state == "success"
    assert written(emulator) == [("23423523", {"name": "42 seats"})]


def test_what_another_task_returned_reaches_the_function_as_it_is(airflow, emulator):
    run = airflow.run("""
        @task
        def upstream():
            return {"names": ["{{ 6 * 7 }}", None]}

        @task
        def nothing():
            return None

        @task.truto_update_account(account_id=RECORD, integrated_account_id=ACME)
        def update(found, none):
            assert none is None
            return {"name": repr(found)}

        update(upstream(), none=nothing())
    """)
    assert run.state == "success", run.log[-4000:]
    assert written(emulator) == [("23423523", {"name": "{'names': ['{{ 6 * 7 }}', None]}"})]
