"""Paths as DAG files write them, and what a subclass adds to an operator, on a real Airflow."""

from __future__ import annotations

import json

import pytest

from airflow_provider_truto.emulator import ACME

pytestmark = pytest.mark.airflow

PATHS = """
try:
    from airflow.sdk import ObjectStoragePath
except ImportError:
    from airflow.io.path import ObjectStoragePath
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

FOLDER = Path(__file__).parent
KINDS = {"text": str, "path": Path, "storage": lambda path: ObjectStoragePath(f"file://{path}")}


def bulk(task_id, **arguments):
    defaults = {"output_path": FOLDER / "ledgers", "max_failures": 0, "retry_delay": timedelta(0)}
    return TrutoBulkUpdateAccountsOperator(task_id=task_id, integrated_account_id=ACME, **{**defaults, **arguments})
"""
LINE = json.dumps({"id": "23423523", "body": {"name": "of the file"}}) + "\n"


def test_a_path_may_be_text_a_path_or_storage_wherever_the_docs_name_one(airflow, emulator):
    run = airflow.run(
        PATHS
        + """
        for name, make in KINDS.items():
            unified(f"list_{name}", "list", output_path=make(FOLDER / "out-{{ params.n }}" / f"{name}.jsonl"))
            bulk(f"bulk_{name}", source=make(FOLDER / "{{ params.n }}.jsonl"), output_path=make(FOLDER / f"l-{name}"))
        bulk("bulks", source=[make(FOLDER / "7.jsonl") for make in KINDS.values()], max_failures=2)
        update("file", body_file=Path("bodies/{{ params.n }}.json"))
        update("schema", body={"name": "x"}, schema=Path("schemas/open.json"))
        """.replace("\n        ", "\n"),
        params={"n": 7},
        files={
            "7.jsonl": LINE,
            "bodies/7.json": '{"name": "of the body file"}',
            "schemas/open.json": '{"type": "object"}',
        },
    )
    assert {name: task.state for name, task in run.tasks.items()} == dict.fromkeys(run.tasks, "success"), run.log[
        -4000:
    ]
    assert len(run.tasks) == 9
    folder = airflow.dags
    for kind in ("text", "path", "storage"):
        told = run[f"list_{kind}"].xcom["truto"]["path"]
        assert told.removeprefix("file://") == str(folder / "out-7" / f"{kind}.jsonl")
        assert len((folder / "out-7" / f"{kind}.jsonl").read_text().splitlines()) == 3
        assert run[f"bulk_{kind}"].xcom["return_value"]["updated"] == 1
        assert list((folder / f"l-{kind}").iterdir())
    names = [execution["body"]["name"] for execution in emulator.executions if execution["body"]]
    assert sorted(names) == sorted(["of the file"] * 6 + ["of the body file", "x"])


def test_paths_come_through_rows_and_outputs_of_other_tasks(airflow, emulator):
    run = airflow.run(
        PATHS
        + """
        @task
        def storage():
            return ObjectStoragePath(f"file://{FOLDER}/rows.jsonl")

        bulk("of_an_output", source=storage())
        TrutoBulkUpdateAccountsOperator.partial(
            task_id="mapped", output_path=FOLDER / "mapped", max_failures=0, integrated_account_id=ACME
        ).expand(source=[str(FOLDER / "rows.jsonl"), [str(FOLDER / "rows.jsonl")]])
        """.replace("\n        ", "\n"),
        files={"rows.jsonl": LINE},
    )
    assert run.state == "success", run.log[-4000:]
    assert len(emulator.executions) == 3


def test_a_subclass_has_template_fields_of_its_own_of_any_type(airflow, emulator):
    run = airflow.run(
        """
        class Mine(TrutoUpdateAccountOperator):
            template_fields = (
                *TrutoUpdateAccountOperator.template_fields, "window", "names", "note", "made", "extra"
            )

            def __init__(self, *, window, names, note=None, made="x", extra=(), **kwargs):
                super().__init__(**kwargs)
                self.window, self.names, self.note, self.made, self.extra = window, names, note, made, extra

            def execute(self, context):
                seen = [self.window, sorted(self.names), self.note, self.made, self.extra]
                context["ti"].xcom_push(key="seen", value=repr(seen))
                return super().execute(context)

        given = {"account_id": RECORD, "integrated_account_id": ACME, "body": {"name": "x"}}
        Mine(task_id="misspelt", window=1, names=(), extra=["{{ params.nn }}"], retries=2, **given)
        Mine(
            task_id="update",
            **given,
            window=timedelta(hours=1),
            names={"a", "{{ 'b' }}"},
            made="{{ none }}",
            extra=["{{ params.n }}", {"deep": "{{ none }}"}],
        )
        """,
        params={"n": 7},
    )
    assert run.update.state == "success", run.log[-4000:]
    seen = "[datetime.timedelta(seconds=3600), ['a', 'b'], None, None, [7, {'deep': None}]]"
    assert run.update.xcom["seen"] == seen
    assert (run["misspelt"].state, run["misspelt"].tries) == ("failed", 1)
    assert "/extra/0: {{ params.nn }}: 'nn' is unknown" in run["misspelt"].failure["message"]
    assert len(emulator.executions) == 1


def test_a_flag_of_a_template_decides_whether_anything_is_written(airflow, emulator):
    run = airflow.run(
        """
        update("off", body={"name": "written"}, preview="{{ params.off }}")
        update("on", body={"name": "never"}, preview="{{ params.on }}", preflight="{{ params.on }}")
        update("empty", body={"tags": []}, allow_empty="{{ params.text }}")
        """,
        params={"off": False, "on": True, "text": "false"},
    )
    assert [execution["body"] for execution in emulator.executions if execution["body"]] == [{"name": "written"}]
    assert "preview" in run["on"].xcom["truto"]
    assert "/body/tags" in run["empty"].failure["message"]
    assert ACME in {execution["integrated_account_id"] for execution in emulator.executions}
