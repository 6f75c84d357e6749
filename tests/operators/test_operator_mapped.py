"""Mapped tasks on a real Airflow: what is rendered, what is data, and that each task is one of its own."""

from __future__ import annotations

import pytest
from airflow_runs import MODES

from airflow_provider_truto.emulator import ACME, GLOBEX

pytestmark = pytest.mark.airflow

ROWS = """
    @task
    def rows():
        return {rows!r}
"""


@pytest.fixture(params=MODES)
def run(request, airflow):
    def run(body, *, rows=None, **options):
        upstream = ROWS.format(rows=rows) if rows is not None else ""
        return airflow.run(upstream + body, native=request.param, **options)

    return run


def executed(emulator, done):
    """What each mapped task wrote, in the order of the tasks; Airflow runs them in any."""
    by_key = {execution["idempotency_key"]: execution for execution in emulator.executions}
    names = sorted(name for name in done.tasks if name.startswith("update["))
    keys = [done[name].xcom["truto"]["idempotency_key"] for name in names if done[name].state == "success"]
    assert len(keys) == len(by_key)
    return [by_key[key] for key in keys]


def arrived(emulator, done):
    return [execution["body"] for execution in executed(emulator, done)]


def outcomes(run):
    """What became of each mapped task, in their order."""
    return [run[name].state for name in sorted(run.tasks) if name.startswith("update[")]


def test_a_list_of_the_dag_file_is_rendered_with_its_types(run, emulator):
    done = run(
        """
    mapped(account_id=RECORD, integrated_account_id=ACME).expand(
        body=[
            {"name": "{{ params.name }}", "number_of_employees": "{{ params.n }}"},
            {"description": None},
            '{"name": "{{ ds }}!"}',
        ]
    )
        """,
        params={"name": "{{ data }}", "n": 5},
    )
    assert outcomes(done) == ["success"] * 3, done.log[-3000:]
    first, second, third = arrived(emulator, done)
    assert (first, second) == ({"name": "{{ data }}", "number_of_employees": 5}, {"description": None})
    assert third["name"].startswith("20")


def test_what_an_upstream_task_gave_is_never_rendered(run, emulator):
    rows = [
        {"name": "{{ ds }}", "custom_fields": {"deep": ["{{ var.value.region }}", "{% raw %}"]}},
        {"name": "plain"},
    ]
    done = run("    mapped(account_id=RECORD, integrated_account_id=ACME).expand(body=rows())", rows=rows)
    assert outcomes(done) == ["success"] * 2, done.log[-3000:]
    assert arrived(emulator, done) == rows


def test_rows_of_an_upstream_task_are_never_rendered_either(run, emulator):
    """Whoever fills the warehouse would else run code in the worker and read its variables and connections."""
    rows = [
        {"account_id": "23423523", "body": {"name": "{{ var.value.region }}", "custom_fields": {"x": ["{{ ds }}"]}}},
        {"account_id": "23423524", "body": '{"name": "{{ var.value.region }}"}', "idempotency_key": "{{ds}}"},
    ]
    done = run("    mapped(integrated_account_id=ACME).expand_kwargs(rows())", rows=rows)
    assert outcomes(done) == ["success"] * 2, done.log[-3000:]
    assert arrived(emulator, done) == [rows[0]["body"], {"name": "{{ var.value.region }}"}]
    assert executed(emulator, done)[1]["idempotency_key"] == "{{ds}}"


def test_a_body_of_text_from_an_upstream_task_is_never_rendered(run, emulator):
    rows = ['{"name": "{{ var.value.region }}"}', '{"number_of_employees": "7"}']
    done = run("    mapped(account_id=RECORD, integrated_account_id=ACME).expand(body=rows())", rows=rows)
    assert outcomes(done) == ["success"] * 2, done.log[-3000:]
    assert arrived(emulator, done) == [{"name": "{{ var.value.region }}"}, {"number_of_employees": 7}]


def test_rows_of_the_dag_file_are_rendered_as_they_are_the_authors(run, emulator):
    done = run(
        """
    mapped(integrated_account_id=ACME).expand_kwargs([
        {"account_id": "{{ params.id }}", "body": {"number_of_employees": "{{ params.n }}"}},
        {"account_id": "23423524", "body": {"description": None}},
    ])
        """,
        params={"id": 23423525, "n": 7},
    )
    assert outcomes(done) == ["success"] * 2, done.log[-3000:]
    assert [(execution["record_id"], execution["body"]) for execution in executed(emulator, done)] == [
        ("23423525", {"number_of_employees": 7}),
        ("23423524", {"description": None}),
    ]


def test_what_is_shared_by_all_is_rendered_for_each(run, emulator):
    done = run(
        """
    mapped(
        integrated_account_id="{{ params.customer }}",
        body={"name": "number {{ ti.map_index }}", "number_of_employees": "{{ params.n }}", "description": None},
    ).expand(account_id=rows())
        """,
        rows=["23423523", 23423524],
        params={"n": 7, "customer": ACME},
    )
    assert outcomes(done) == ["success"] * 2, done.log[-3000:]
    assert [(execution["record_id"], execution["body"]) for execution in executed(emulator, done)] == [
        ("23423523", {"name": "number 0", "number_of_employees": 7, "description": None}),
        ("23423524", {"name": "number 1", "number_of_employees": 7, "description": None}),
    ]


def test_a_literal_none_stays_one_beside_a_none_that_came_as_data(run, emulator):
    done = run(
        """
    mapped(
        account_id=RECORD, integrated_account_id=ACME, body={"name": "x", "description": None}
    ).expand(output_path=rows())
        """,
        rows=[None, None],
    )
    assert outcomes(done) == ["success"] * 2, done.log[-3000:]
    assert arrived(emulator, done) == [{"name": "x", "description": None}] * 2


@pytest.mark.parametrize(
    ("on_none", "states", "bodies"),
    [
        ("error", ["success", "failed"], [{"name": "a"}]),
        ("omit", ["success", "success"], [{"name": "a"}, {"website": "b"}]),
        ("null", ["success", "success"], [{"name": "a"}, {"description": None, "website": "b"}]),
    ],
)
@pytest.mark.parametrize("way", ["expand", "expand_kwargs"])
def test_none_in_a_row_of_data_is_decided_on_for_that_row_alone(run, emulator, on_none, states, bodies, way):
    rows = [{"name": "a"}, {"description": None, "website": "b"}]
    if way == "expand_kwargs":
        rows = [{"body": row} for row in rows]
    call = "expand(body=rows())" if way == "expand" else "expand_kwargs(rows())"
    done = run(f"    mapped(account_id=RECORD, integrated_account_id=ACME, on_none={on_none!r}).{call}", rows=rows)
    assert outcomes(done) == states, done.log[-3000:]
    assert arrived(emulator, done) == bodies


def test_a_customer_of_none_in_a_row_fails_that_row_and_never_becomes_the_default(run, emulator):
    done = run(
        """
    mapped(truto_conn_id="of_globex", account_id="70010001", body={"name": "x"}).expand_kwargs(rows())
        """,
        rows=[
            {"integrated_account_id": GLOBEX},
            {"integrated_account_id": None},
            {"integrated_account_id": ""},
            {},
        ],
    )
    assert outcomes(done) == ["success", "failed", "failed", "success"], done.log[-3000:]
    assert [execution["integrated_account_id"] for execution in executed(emulator, done)] == [GLOBEX, GLOBEX]


def test_every_mapped_task_writes_under_a_key_of_its_own(run, emulator):
    """Equal bodies for one record are two writes all the same."""
    done = run(
        "    mapped(account_id=RECORD, integrated_account_id=ACME).expand(body=[{'name': 'x'}, {'name': 'x'}])"
    )
    assert outcomes(done) == ["success"] * 2
    assert len({execution["idempotency_key"] for execution in emulator.executions}) == 2


def test_one_row_that_is_wrong_stops_no_other(run, emulator):
    done = run(
        """
    mapped(account_id=RECORD, integrated_account_id=ACME, retries=2).expand(body=[{"nme": "x"}, {"name": "right"}])
        """
    )
    assert outcomes(done) == ["failed", "success"]
    assert done["update[0]"].tries == 1
    assert arrived(emulator, done) == [{"name": "right"}]


def test_the_answers_of_all_are_there_for_a_task_after_them(run):
    done = run(
        """
    @task
    def ids(answers):
        return [answer["id"] for answer in answers]

    ids(mapped(body={"name": "x"}, integrated_account_id=ACME).expand(account_id=["23423523", "23423524"]).output)
        """
    )
    assert done["ids"].xcom["return_value"] == ["23423523", "23423524"]


@pytest.mark.parametrize("source", ["gathered", "{{ ti.xcom_pull(task_ids='piece') }}"])
def test_the_results_of_mapped_upstream_tasks_arrive_as_a_list(run, emulator, source):
    value = "gathered" if source == "gathered" else repr(source)
    done = run(
        f"""
    @task
    def piece(n):
        return {{"n": n, "template": "{{{{ ds }}}}"}}

    gathered = piece.expand(n=[1, 2])
    gathered >> update(body={{"custom_fields": {{"pieces": {value}}}}}, verify=None)
        """
    )
    assert done["update"].failures == [], done.log[-3000:]
    (body,) = (execution["body"] for execution in emulator.executions)
    pieces = [{"n": 1, "template": "{{ ds }}"}, {"n": 2, "template": "{{ ds }}"}]
    assert body == {"custom_fields": {"pieces": pieces}}


def test_a_body_file_is_rendered_for_each_of_the_mapped_tasks(run, emulator):
    done = run(
        "    mapped(integrated_account_id=ACME, body_file='body.json').expand(account_id=['23423523', '23423524'])",
        files={"body.json": '{"name": "number {{ ti.map_index }}", "number_of_employees": "{{ ti.map_index }}"}'},
    )
    assert outcomes(done) == ["success"] * 2, done.log[-3000:]
    assert arrived(emulator, done) == [
        {"name": "number 0", "number_of_employees": 0},
        {"name": "number 1", "number_of_employees": 1},
    ]


def test_a_mapped_task_may_be_named_by_its_customer(airflow):
    done = airflow.run(
        """
    mapped(
        account_id=RECORD, body={"name": "x"}, map_index_template="{{ task.integrated_account_id }}"
    ).expand(integrated_account_id=[ACME])
        """
    )
    assert done["update[0]"].failures == []
    names = airflow.query("select rendered_map_index from task_instance where run_id = ?", done.run_id)
    assert names == [(ACME,)]


def test_what_a_row_gets_wrong_fails_its_first_try_with_all_of_it(run, emulator):
    """Airflow makes the task of a row in the worker; what its constructor raised there was retried."""
    done = run(
        "    mapped(integrated_account_id=ACME, retries=2, retry_delay=timedelta(0)).expand_kwargs(rows())",
        rows=[
            {"acount_id": "1", "body": {"nme": "x"}, "preview": "perhaps", "max_records": 0},
            {"account_id": "23423523"},
            {"account_id": "23423523", "body": {"name": "x"}, "method": "delete", "record_id": "1"},
            {"account_id": "23423523", "body": {"name": "x"}, "on_none": "skip", "skip_on": ["gone"]},
            {"account_id": "23423523", "body": {"name": "x"}, "preview": True, "expect": "p1-0"},
            {"account_id": "23423523", "body": {"name": "x"}, "verify": None, "preflight": "false"},
        ],
    )
    assert outcomes(done) == ["failed"] * 5 + ["success"], done.log[-3000:]
    assert [execution["body"] for execution in emulator.executions] == [{"name": "x"}]
    told = []
    for index in range(5):
        task = done[f"update[{index}]"]
        assert task.tries == 1
        assert (task.failure["type"], task.failure["cause"]) == ("AirflowFailException", "TrutoSchemaError")
        told.append([line.split(":")[0].strip() for line in task.failure["message"].splitlines()[1:]])
    assert [sorted(lines) for lines in told] == [
        ["/account_id", "/acount_id", "/body/nme", "/max_records", "/preview"],
        ["/body"],
        ["/method", "/record_id"],
        ["/on_none", "/skip_on"],
        ["/preview"],
    ]
    assert "did you mean account_id?" in done["update[0]"].failure["message"]


def test_a_body_of_default_args_is_a_body(airflow, emulator):
    done = airflow.run(
        """
        dag.default_args["body"] = {"name": "of the DAG"}
        update("plain")
        update("own", body={"name": "its own"})
        update("of_the_task", default_args={"body": {"name": "of the task"}})
        TrutoUpdateAccountOperator.partial(task_id="update", account_id=RECORD).expand(integrated_account_id=[ACME])
        """
    )
    assert done.state == "success", done.log[-3000:]
    assert sorted(execution["body"]["name"] for execution in emulator.executions) == [
        "its own",
        "of the DAG",
        "of the DAG",
        "of the task",
    ]
