"""The bulk operators' sources on a real Airflow: what is rendered, what is data, and what stays lazy."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX

pytestmark = pytest.mark.airflow

BULK = """
import json, tempfile
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator
from airflow_provider_truto.operators.bulk import TrutoBulkSummaryOperator, shards
from airflow_provider_truto.operators.unified import TrutoBulkUnifiedOperator

LEDGERS = str(Path(__file__).parent / "ledgers")
common = {"output_path": LEDGERS, "max_failures": 0, "retry_delay": timedelta(0), "integrated_account_id": ACME}

def bulk(task_id="bulk", **arguments):
    return TrutoBulkUpdateAccountsOperator(task_id=task_id, **{**common, **arguments})
"""
IDS = ["23423523", "23423524", "23423525"]


@pytest.fixture
def run(airflow):
    """A function that runs a DAG with bulk operators."""
    return lambda body, **options: airflow.run(BULK + body, **options)


@pytest.fixture
def warehouse(tmp_path):
    """Code that makes an SQLite connection `warehouse` with a table of ACME's accounts, and the database's path."""
    pytest.importorskip("airflow.providers.sqlite.hooks.sqlite")
    path = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table accounts (id, customer, about, size)")
        rows = [(record, ACME, f"about {record}", number) for number, record in enumerate(IDS)]
        database.executemany("insert into accounts values (?, ?, ?, ?)", rows)
        database.commit()
    value = json.dumps({"conn_type": "sqlite", "host": str(path)})
    return f"os.environ['AIRFLOW_CONN_WAREHOUSE'] = {value!r}\n", path


def bodies(emulator):
    return {entry["record_id"]: entry["body"] for entry in emulator.executions if entry["method"] == "PATCH"}


def test_the_output_of_another_task_is_a_source_and_never_a_template(run, emulator):
    done = run("""
@task
def rows():
    return [{"id": "23423523", "body": {"description": "{{ 6 * 7 }}", "name": "None"}}]
bulk(source=rows())
""")
    assert done["bulk"].state == "success"
    assert bodies(emulator) == {"23423523": {"description": "{{ 6 * 7 }}", "name": "None"}}


def test_the_outputs_of_a_mapped_task_are_one_source(run, emulator):
    done = run(f"""
@task
def row(record):
    return {{"id": record, "body": {{"description": "x"}}}}
bulk(source=row.expand(record={IDS!r}))
""")
    assert done["bulk"].state == "success", done.log[-4000:]
    assert (done["bulk"].xcom["return_value"]["records"], sorted(bodies(emulator))) == (3, IDS)


def test_lists_that_a_mapped_task_gives_are_lists_of_rows(run, emulator):
    done = run(f"""
@task
def rows(records):
    return [{{"id": record, "body": {{"description": "x"}}}} for record in records]
bulk(source=rows.expand(records=[{IDS[:2]!r}, [], {IDS[2:]!r}]))
""")
    assert done["bulk"].state == "success", done.log[-4000:]
    assert sorted(bodies(emulator)) == IDS


def test_a_bulk_may_be_mapped_over_the_lists_of_another_task(run, emulator):
    done = run(f"""
@task
def lists():
    return [[{{"id": record, "body": {{"description": "{{{{ x }}}}"}}}}] for record in {IDS!r}]
TrutoBulkUpdateAccountsOperator.partial(task_id="bulk", **common).expand(source=lists())
""")
    assert [done[f"bulk[{index}]"].state for index in range(3)] == ["success"] * 3
    assert bodies(emulator) == {record: {"description": "{{ x }}"} for record in IDS}


def test_a_list_in_the_dag_file_is_the_author_s_and_rendered(run, emulator):
    run("""
bulk(source=[{"id": "{{ params.id }}", "body": {"number_of_employees": "{{ params.n }}"}}])
""", params={"id": "23423523", "n": 5})  # fmt: skip
    assert bodies(emulator) == {"23423523": {"number_of_employees": 5}}


def test_a_path_is_a_template(run, emulator):
    done = run(
        'bulk(source="{{ params.folder }}/*.csv", mapping=None)\n',
        params={"folder": "FOLDER"},
        files={"in/a.csv": "id,description\n23423523,a\n"},
    )
    assert "FOLDER/*.csv. This try has sent nothing" in done["bulk"].failure["message"]
    assert done["bulk"].tries == 1


def test_a_query_is_a_template_with_parameters(run, emulator, warehouse):
    done = run(
        warehouse[0]
        + """
bulk(
    sql_conn_id="{{ params.conn }}",
    sql="select id, about as description from accounts where id <> '{{ params.id }}' and size >= :size",
    query_parameters={"size": "{{ params.size }}"},
)
""",
        params={"conn": "warehouse", "id": IDS[0], "size": 2},
    )
    assert done["bulk"].state == "success", done.log[-4000:]
    assert bodies(emulator) == {IDS[2]: {"description": f"about {IDS[2]}"}}


def test_a_query_may_stand_in_a_file_beside_the_dag(run, emulator, warehouse):
    files = {"accounts.sql": "select id, about as description from accounts where id = '{{ params.id }}' -- it's\n"}
    done = run(
        warehouse[0] + 'bulk(sql_conn_id="warehouse", sql="accounts.sql")\n'
        "dag.resolve_template_files()  # as a worker does that takes the DAG out of its bag\n",
        params={"id": IDS[1]},
        files=files,
    )
    assert done["bulk"].state == "success", done.log[-4000:]
    assert list(bodies(emulator)) == [IDS[1]]


@pytest.mark.parametrize(
    "expanded",
    [
        "expand(sql=['accounts.sql'])",
        "expand(integrated_account_id=[ACME])",
        "expand_kwargs([{'sql': 'accounts.sql'}])",
        "expand_kwargs([{'query': 'accounts.sql'}])",
        "expand_kwargs(give())",
    ],
)
def test_a_query_in_a_file_is_found_for_mapped_tasks_too(run, emulator, warehouse, expanded):
    sql = "" if "sql" in expanded else 'sql="accounts.sql", '
    done = run(
        warehouse[0]
        + f"""
@task
def give():
    return [{{"integrated_account_id": ACME}}]
shared = {{"sql_conn_id": "warehouse", "output_path": LEDGERS, "max_failures": 0}}
TrutoBulkUpdateAccountsOperator.partial(task_id="bulk", {sql}**shared).{expanded}
""",
        params={"id": IDS[1]},
        files={
            "accounts.sql": "select id, customer as integrated_account_id, about as description from accounts"
            " where id = '{{ params.id }}'"
        },
    )
    assert done["bulk[0]"].failures == [], done.log[-4000:]
    assert list(bodies(emulator)) == [IDS[1]]


def test_a_query_that_only_names_a_file_never_goes_to_the_database(run, emulator, warehouse):
    done = run(
        warehouse[0]
        + """
@task
def give():
    return "absent.sql"
bulk(sql_conn_id="warehouse", sql="absent.sql", retries=2)
bulk("of_a_template", sql_conn_id="warehouse", sql="{{ 'absent' }}.sql", retries=2)
bulk("of_data", sql_conn_id="warehouse", sql=give(), retries=2)
"""
    )
    assert "sql 'absent.sql' was not found in " in done["bulk"].failure["message"]
    for task_id in ("of_a_template", "of_data"):
        assert "sql is only the name of a file, 'absent.sql'" in done[task_id].failure["message"]
    assert {task.tries for name, task in done.tasks.items() if name != "give"} == {1}


def test_a_retry_reads_what_the_first_try_read_and_a_cleared_finished_bulk_asks_again(run, emulator, warehouse):
    emulator.fault(method="PATCH", path=IDS[2], status=500, times=1)
    done = run(
        warehouse[0]
        + """
def change(context):
    import sqlite3
    if context["ti"].try_number == 2:
        with sqlite3.connect(json.loads(os.environ["AIRFLOW_CONN_WAREHOUSE"])["host"]) as database:
            database.execute("update accounts set about = 'changed meanwhile'")
bulk(
    sql_conn_id="warehouse", sql="select id, about as description from accounts", retries=1, pre_execute=change
)
"""
    )
    assert (done["bulk"].state, done["bulk"].tries) == ("success", 2), done.log[-4000:]
    with closing(sqlite3.connect(warehouse[1])) as database:
        assert database.execute("select distinct about from accounts").fetchall() == [("changed meanwhile",)]
    assert bodies(emulator) == {record: {"description": f"about {record}"} for record in IDS}
    again = done.again()
    assert again["bulk"].state == "success"
    assert {body["description"] for body in bodies(emulator).values()} == {"changed meanwhile"}


def test_an_error_of_the_warehouse_is_retried_and_the_corrected_query_starts_from_nothing(run, emulator, warehouse):
    done = run(
        warehouse[0]
        + """
bulk(sql_conn_id="warehouse", sql="select id, absent as description from accounts", retries=1)
"""
    )
    assert (done["bulk"].state, done["bulk"].tries) == ("failed", 2)
    assert "no such column: absent" in done["bulk"].failures[-1]["message"]
    file = done.airflow.dags / f"{done.dag_id}.py"
    file.write_text(file.read_text().replace("absent as", "about as"))
    again = done.again()
    assert again["bulk"].state == "success", again.log[-4000:]
    assert sorted(bodies(emulator)) == IDS


def test_columns_that_make_no_record_fail_at_once_and_nothing_is_sent(run, emulator, warehouse):
    done = run(warehouse[0] + 'bulk(sql_conn_id="warehouse", sql="select about from accounts", retries=3)\n')
    assert (done["bulk"].state, done["bulk"].tries) == ("failed", 1)
    assert "the header has no column `id`: it has about. Name the column" in done["bulk"].failure["message"]
    assert bodies(emulator) == {}


def test_a_mapping_is_rendered_for_each_row_and_by_nobody_before(run, emulator, warehouse):
    done = run(
        warehouse[0]
        + """
bulk(
    sql_conn_id="warehouse",
    sql="select * from accounts",
    mapping={
        "id": "{{ row.id }}",
        "integrated_account_id": "{{ row.customer }}",
        "body": {"description": "{{ row.about }}, {{ params.who }}", "number_of_employees": "{{ row.size + 1 }}"},
    },
)
""",
        params={"who": "says {{ nobody }}"},
    )
    assert done["bulk"].state == "success", done.log[-4000:]
    assert bodies(emulator) == {
        record: {"description": f"about {record}, says {{{{ nobody }}}}", "number_of_employees": number + 1}
        for number, record in enumerate(IDS)
    }


@pytest.mark.parametrize("native", [False, True])
def test_a_mapping_works_in_a_mapped_task_and_in_both_modes_of_rendering(run, emulator, native):
    done = run(f"""
TrutoBulkUpdateAccountsOperator.partial(
    task_id="bulk", **common, source=[{{"k": record}} for record in {IDS!r}],
    mapping={{"id": "{{{{ row.k }}}}", "body": {{"description": "{{{{ ti.map_index }}}} {{{{ row.k }}}}"}}}},
).expand(shard=shards(2, by="id"))
""", native=native)  # fmt: skip
    assert [done[f"bulk[{index}]"].state for index in range(2)] == ["success"] * 2, done.log[-4000:]
    made = bodies(emulator)
    assert sorted(made) == IDS
    assert all(made[record]["description"] in {f"0 {record}", f"1 {record}"} for record in IDS)


@pytest.mark.parametrize("mapping", ["to_record", "lambda row: to_record(row)", "'truto_author_maps.to_record'"])
def test_a_function_of_the_author_makes_records_of_rows(run, emulator, mapping):
    source = (
        "def to_record(row):\n    return None if row['skip'] else {'id': row['k'], 'body': {'description': 'x'}}\n"
    )
    done = run(
        f"""
import sys
sys.path.insert(0, str(Path(__file__).parent))
sys.modules.pop("truto_author_maps", None)
from truto_author_maps import to_record
rows = [{{"k": record, "skip": record == {IDS[0]!r}}} for record in {IDS!r}]
bulk(source=rows, mapping={mapping})
""",
        files={"truto_author_maps.py": source},
    )
    assert done["bulk"].state == "success", done.log[-4000:]
    counts = done["bulk"].xcom["return_value"]
    assert (counts["updated"], counts["unchanged"]) == (2, 1)
    assert sorted(bodies(emulator)) == IDS[1:]


def test_rows_that_a_mapping_fails_on_fail_alone(run, emulator):
    done = run(f"""
rows = [{{"k": record, "n": number}} for number, record in enumerate({IDS!r})]
bulk(
    source=rows,
    max_failures=1,
    mapping={{"id": "{{{{ row.k }}}}", "body": {{"description": "{{{{ 6 // row.n }}}}!"}}}},
)
""")
    assert done["bulk"].state == "success", done.log[-4000:]
    counts = done["bulk"].xcom["return_value"]
    assert (counts["updated"], counts["failed"]) == (2, 1)
    assert "/body/description: the mapping raised ZeroDivisionError" in counts["first_problems"][0]


def test_a_mapping_that_cannot_be_imported_fails_before_anything_is_sent(run, emulator):
    done = run("bulk(source=[], mapping='truto_author_nowhere.to_record', retries=2)\n")
    assert (done["bulk"].state, done["bulk"].tries) == ("failed", 1)
    assert "mapping: 'truto_author_nowhere.to_record' cannot be imported" in done["bulk"].failure["message"]


def test_sql_null_follows_on_none(run, emulator, warehouse):
    query = "select id, null as description, 'n' as name from accounts limit 1"
    for on_none, body in (
        ("error", {"name": "n"}),
        ("omit", {"name": "n"}),
        ("null", {"description": None, "name": "n"}),
    ):
        run(warehouse[0] + f'bulk(sql_conn_id="warehouse", sql="{query}", on_none="{on_none}")\n')
        assert emulator.executions[-1]["body"] == body


@pytest.mark.parametrize(("arguments", "message"), [
    ("", "give either source, or sql with sql_conn_id"),
    ("source=[], sql='select 1', sql_conn_id='w'", "give either source, or sql with sql_conn_id"),
    ("sql='select 1'", "give either source, or sql with sql_conn_id"),
    ("sql='select 1', query='select 1', sql_conn_id='w'", "query: is the deprecated name of sql"),
    ("source=[], sql_conn_id='w'", "sql_conn_id: means nothing without sql"),
    ("source=[], mapping={}, null_marker='x'", "null_marker: means nothing beside mapping"),
])  # fmt: skip
def test_arguments_that_contradict_each_other_break_the_dag_file(run, emulator, arguments, message):
    done = run(f"""
try:
    bulk({arguments})
except Exception as error:
    told = str(error)
@task
def tell():
    return told
tell()
""")
    assert message in done["tell"].xcom["return_value"]


# --------------------------------------------------------------------------------------------- any model and resource


def test_any_resource_is_created_updated_and_deleted_in_bulk(run, emulator):
    done = run("""
common["integrated_account_id"] = GLOBEX
def contacts(method, source, **more):
    return TrutoBulkUnifiedOperator(
        task_id=method, model="{{ params.model }}", resource="contacts", method=method, source=source,
        output_path=LEDGERS, max_failures=0, integrated_account_id=GLOBEX, **more,
    )
create = contacts("create", [{"body": {"first_name": f"F{number}", "last_name": "L"}} for number in range(3)])
@task
def made(ledger):
    rows = [json.loads(line) for path in Path(ledger["ledger"]).glob("results-*") for line in path.open()]
    return [{"id": row["id"], "body": {"last_name": "M"}} for row in rows]
@task
def gone(rows):
    return [{"id": row["id"]} for row in rows]
rows = made(create.output)
contacts("update", rows) >> contacts("delete", gone(rows))
""", params={"model": "crm"})  # fmt: skip
    states = {name: done[name].state for name in ("create", "update", "delete")}
    assert states == dict.fromkeys(states, "success"), done.log[-6000:]
    methods = [entry["method"] for entry in emulator.executions]
    assert methods == ["POST"] * 3 + ["PATCH"] * 3 + ["DELETE"] * 3
    assert {entry["integrated_account_id"] for entry in emulator.executions} == {GLOBEX}


@pytest.mark.parametrize("method", ["list", "get"])
def test_a_bulk_reads_nothing(run, emulator, method):
    done = run(f"""
try:
    TrutoBulkUnifiedOperator(task_id="x", model="crm", resource="contacts", method="{method}", source=[], **common)
except Exception as error:
    told = str(error)
@task
def tell():
    return told
tell()
""")
    assert f"method: a bulk writes, and {method} reads" in done["tell"].xcom["return_value"]


# ------------------------------------------------------------------------------------------------------------- shards

SHARDS = f"""
rows = [{{"id": record, "body": {{"description": "x"}}}} for record in {IDS!r}] + BAD
bulks = TrutoBulkUpdateAccountsOperator.partial(
    task_id="bulk", **{{**common, "max_failures": None}}, source=rows
).expand(shard=shards(3, by="id"))
bulks >> TrutoBulkSummaryOperator(
    task_id="report", bulk_task_id="bulk", output_path=LEDGERS, expected_shards=EXPECTED, max_failures=MOST
)
"""


def shards_with(bad="[]", expected=3, most=0):
    return f"BAD, EXPECTED, MOST = {bad}, {expected}, {most}\n" + SHARDS


def test_shards_do_every_record_once_and_the_report_adds_them_up(run, emulator):
    done = run(shards_with())
    assert done["report"].state == "success", done.log[-4000:]
    report = done["report"].xcom["return_value"]
    assert (report["records"], report["updated"], report["shards"]) == (3, 3, 3)
    assert report["accounts"] == {
        ACME: {"updated": 3, "created": 0, "unchanged": 0, "failed": 0, "skipped": 0, "tolerated": 0}
    }
    assert sorted(entry["record_id"] for entry in emulator.executions) == IDS


def test_the_report_fails_where_too_much_failed_and_still_tells_all(run, emulator):
    bad = "[{'id': '1', 'body': {'nmae': 'x'}}]"
    done = run(shards_with(bad))
    assert {done[f"bulk[{index}]"].state for index in range(3)} == {"success"}
    assert (done["report"].state, done["report"].tries) == ("failed", 1)
    assert "3 were written, 0 needed no write, 1 failed" in done["report"].failure["message"]
    assert "nmae" in done["report"].failure["message"]
    assert done["report"].xcom["truto"]["failed"] == 1
    assert run(shards_with(bad, most=0.25))["report"].state == "success"


def test_the_report_fails_where_shards_are_away(run, emulator):
    done = run(shards_with(expected=4))
    assert done["report"].state == "failed"
    told = done["report"].failure["message"]
    assert "Not every shard has a ledger in " in told
    assert (
        "those of the shards 3 are missing. Did their tasks run? If they did: is output_path that of 'bulk'" in told
    )
    nowhere = run("""
TrutoBulkSummaryOperator(task_id="report", bulk_task_id="nothing", output_path=LEDGERS, max_failures=None)
""")
    assert "there is none. Did their tasks run?" in nowhere["report"].failure["message"]


#: What is in the folder of each of two workers, who do not share it.
APART = """
bulks = TrutoBulkUpdateAccountsOperator.partial(
    task_id="bulk", **{**common, "max_failures": None, "output_path": LEDGERS + "/{{ ti.map_index % 2 }}"}, **MORE
).expand(**MAPPED)
bulks >> TrutoBulkSummaryOperator(
    task_id="report", bulk_task_id="bulk", output_path=LEDGERS + "/0", max_failures=None
)
"""


@pytest.mark.parametrize(
    ("more", "mapped"),
    [("dict(source=rows)", "dict(shard=shards(3, by='id'))"), ("{}", "dict(source=[rows[:1], rows[1:2], rows[2:]])")],
    ids=["shards", "other mapped bulks"],
)
def test_the_report_fails_where_workers_do_not_share_the_ledger_although_nobody_said_how_many_there_are(
    run, emulator, more, mapped
):
    rows = [{"id": record, "body": {"description": "x"}} for record in IDS]
    done = run(f"rows = {rows!r}\nMORE, MAPPED = {more}, {mapped}\n{APART}")
    assert {done[f"bulk[{index}]"].state for index in range(3)} == {"success"}
    told = done["report"].failure["message"]
    assert "those of the shards 1 are missing. Did their tasks run?" in told
    assert "do all workers share it?" in told


def test_another_number_of_shards_for_a_run_that_is_not_finished_is_refused(run, emulator):
    bad = "[{'id': '1', 'body': {'nmae': 'x'}}]"
    done = run(f"""
BAD = {bad}
TrutoBulkUpdateAccountsOperator.partial(
    task_id="bulk", **common, source=BAD, retries=0
).expand(shard=shards(1))
""")
    assert done["bulk[0]"].state == "failed"
    file = done.airflow.dags / f"{done.dag_id}.py"
    file.write_text(file.read_text().replace("shards(1)", "shards(1, by='id')"))
    again = done.again()
    assert "the source has changed since the first try" in again["bulk[0]"].failure["message"]
