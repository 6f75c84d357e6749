"""Where an answer goes on a real Airflow: XCom, a file, or a summary; and what is told beside it."""

from __future__ import annotations

import json
import stat

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.records.xcom import XCOM_LIMIT

pytestmark = pytest.mark.airflow

LARGE = {"id": "23423523", "name": "x", "description": "é" * 150_000}


def test_the_response_is_the_return_value_and_all_else_has_a_key_of_its_own(airflow, emulator):
    run = airflow.run("update(body={'name': 'Acme', 'number_of_employees': '{{ 120 }}'})")
    response, told = run.update.xcom["return_value"], run.update.xcom["truto"]
    assert response["id"] == "23423523"
    assert (response["name"], response["number_of_employees"]) == ("Acme", 120)
    assert response["website"] == "https://northwind.example"
    assert "remote_data" not in response
    assert told == {
        "status": 200,
        "attempts": 1,
        "waited_seconds": 0.0,
        "paced_seconds": 0.0,
        "idempotency_key": emulator.executions[0]["idempotency_key"],
        "integrated_account_id": ACME,
        "verification": {
            "taken": ["/name", "/number_of_employees"],
            "changed": [],
            "not_confirmed": [],
            "unverifiable": [],
        },
    }
    assert set(run.update.xcom) == {"return_value", "truto"}


FORMATS = {
    "unified": ("", lambda value: value["number_of_employees"] == 120 and "remote_data" not in value),
    "normalized": (
        "response_format='normalized'",
        lambda value: value["phone_numbers"][0]["number"] == "+12065550199",
    ),
    "raw": ("response_format='raw'", lambda value: value["properties"]["employeeCount"] == 120),
    "with remote data": ("ignore_remote_data=False", lambda value: "properties" in value["remote_data"]),
    "without its id": ("exclude_fields=['id', 'tags']", lambda value: "tags" not in value and "name" in value),
}


@pytest.fixture(scope="module")
def formats(one_airflow, truto):
    truto.reset()
    body = "body={'number_of_employees': 120, 'phone_numbers': [{'number': '+1 206 555 0199'}]}"
    tasks = [f"update('t{number}', {body}, {more})" for number, (more, _) in enumerate(FORMATS.values())]
    return one_airflow.run("\n".join(tasks))


@pytest.mark.parametrize("name", FORMATS)
def test_every_response_format_gives_an_object_with_id(formats, name):
    task = formats[f"t{list(FORMATS).index(name)}"]
    assert task.failures == []
    assert task.xcom["return_value"]["id"] == "23423523"
    assert FORMATS[name][1](task.xcom["return_value"])


@pytest.mark.parametrize(
    ("fault", "value", "status"),
    [
        ({"status": 204}, {"id": "23423523"}, 204),
        ({"body": {}}, {"id": "23423523"}, 200),
        ({"body": {"id": "merged-into-7", "name": "x"}}, {"id": "merged-into-7", "name": "x"}, 200),
        ({"body": {"id": 7, "name": "x"}}, {"id": "7", "name": "x"}, 200),
        ({"body": {"id": None, "name": "x"}}, {"id": "23423523", "name": "x"}, 200),
        ({"body": {"name": "x"}}, {"id": "23423523", "name": "x"}, 200),
        ({"body": [{"name": "x"}]}, {"id": "23423523", "result": [{"name": "x"}]}, 200),
        ({"body": "done"}, {"id": "23423523", "result": "done"}, 200),
        ({"body": None}, {"id": "23423523", "result": None}, 200),
        ({"body": {"id": "7", "name": "x", "remote_data": {"big": 1}}}, {"id": "7", "name": "x"}, 200),
        ({"body": {"id": "7", "name": "x"}, "status": 201}, {"id": "7", "name": "x"}, 201),
    ],
    ids=str,
)
def test_an_answer_of_any_shape_becomes_an_object_with_id(airflow, emulator, fault, value, status):
    emulator.fault(method="PATCH", apply=True, **fault)
    run = airflow.run("update(body={'name': 'x'})")
    assert run.update.failures == []
    assert run.update.xcom["return_value"] == value
    assert run.update.xcom["truto"]["status"] == status


def test_an_answer_too_large_for_xcom_is_summed_up_with_a_warning(airflow, emulator):
    emulator.fault(method="PATCH", apply=True, body=LARGE)
    run = airflow.run("update(body={'name': 'x'})")
    size = len(json.dumps(LARGE, ensure_ascii=False).encode())
    assert size > XCOM_LIMIT
    assert run.update.xcom["return_value"] == {
        "id": "23423523",
        "truncated": True,
        "bytes": size,
        "keys": ["description", "id", "name"],
    }
    assert run.update.xcom["truto"]["bytes"] == size
    assert run.update.xcom["truto"]["verification"]["taken"] == ["/name"]
    assert f"The answer has {size} bytes, more than the {XCOM_LIMIT} that go to XCom" in run.log


@pytest.mark.parametrize("as_url", [False, True])
def test_an_answer_too_large_for_xcom_goes_to_the_output_path(airflow, emulator, tmp_path, as_url):
    path = tmp_path / "new" / "folder" / "answer.json"
    given = f"file://{path}" if as_url else str(path)
    emulator.fault(method="PATCH", apply=True, body=LARGE)
    run = airflow.run("update(body={'name': 'x'}, output_path='{{ params.path }}')", params={"path": given})
    assert run.update.failures == []
    assert run.update.xcom["return_value"] == {"id": "23423523", "path": given}
    assert run.update.xcom["truto"]["path"] == given
    assert json.loads(path.read_text("utf-8")) == LARGE
    assert run.update.xcom["truto"]["bytes"] == path.stat().st_size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["answer.json"]


def test_an_answer_that_fits_into_xcom_goes_there_and_no_file_is_written(airflow, tmp_path):
    run = airflow.run(f"update(body={{'name': 'x'}}, output_path={str(tmp_path / 'answer.json')!r})")
    assert run.update.xcom["return_value"]["name"] == "x"
    assert list(tmp_path.iterdir()) == []


def test_a_streamed_answer_goes_to_its_file_that_only_the_worker_reads(airflow, emulator, tmp_path):
    path = tmp_path / "answer.json"
    path.write_text("of an earlier run")
    path.chmod(0o644)
    run = airflow.run(
        f"update(body={{'name': 'x', 'number_of_employees': 5}}, response_format='stream', output_path={str(path)!r})"
    )
    assert run.update.failures == []
    assert json.loads(path.read_bytes())["properties"]["name"] == "x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run.update.xcom["return_value"] == {"id": "23423523", "path": str(path)}
    told = run.update.xcom["truto"]
    assert (told["path"], told["bytes"]) == (str(path), path.stat().st_size)
    assert told["verification"]["unverifiable"] == ["/name", "/number_of_employees"]
    assert list(tmp_path.iterdir()) == [path]
    assert len(emulator.executions) == 1


def test_a_stream_that_breaks_off_leaves_no_file_and_the_retry_writes_it_without_writing_to_the_crm_again(
    airflow, emulator, tmp_path
):
    path = tmp_path / "answer.json"
    emulator.fault(method="PATCH", cut=20)
    task = f"update(body={{'name': 'x'}}, response_format='stream', output_path={str(path)!r}, retries="
    run = airflow.run(f"{task}0)")
    assert run.update.state == "failed"
    assert run.update.failure["type"] == "TrutoTransportError"
    assert "The write itself was answered with success" in run.update.failure["message"]
    assert list(tmp_path.iterdir()) == []

    emulator.reset()
    emulator.fault(method="PATCH", cut=20)
    run = airflow.run(f"{task}1)")
    assert (run.update.state, run.update.tries) == ("success", 2)
    assert json.loads(path.read_bytes())["properties"]["name"] == "x"
    assert list(tmp_path.iterdir()) == [path]
    assert len(emulator.executions) == 1


def test_a_file_that_cannot_be_written_fails_the_task_and_leaves_nothing(airflow, emulator, tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "answer.json"
    run = airflow.run(f"update(body={{'name': 'x'}}, response_format='stream', output_path={str(path)!r})")
    assert run.update.state == "failed"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_stream_without_a_path_is_refused_before_anything_is_sent(airflow, emulator):
    run = airflow.run(
        "update(body={'name': 'x'}, response_format='{{ params.format }}')", params={"format": "stream"}
    )
    assert "/output_path: is needed for response_format 'stream'" in run.update.failure["message"]
    assert emulator.requests == []


def test_what_the_crm_made_of_the_values_is_told_in_xcom_and_in_the_log(airflow):
    run = airflow.run(
        """
        update(
            account_id="70010001",
            integrated_account_id=GLOBEX,
            exclude_fields=["website"],
            body={
                "name": "Acme",
                "website": "https://acme.test",
                "phone_numbers": [{"number": "+1 206 555 0199"}],
                "created_at": datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))),
                "tags": [{"name": "vip"}],
                "urls": [{"url": "https://acme.test/blog"}],
                "remote_data": {"type": "Account"},
            },
        )
        """
    )
    assert run.update.state == "success"
    assert run.update.xcom["truto"]["verification"] == {
        "taken": ["/name", "/created_at"],
        "changed": ["/phone_numbers", "/tags"],
        "not_confirmed": ["/urls"],
        "unverifiable": ["/website", "/remote_data"],
    }
    assert "the CRM took in its own form: /phone_numbers, /tags" in run.log
    assert "the answer cannot confirm: /website, /remote_data" in run.log
    assert "does not confirm /urls" in run.log


def test_one_line_of_the_log_tells_what_was_called(airflow, emulator):
    run = airflow.run("update(body={'name': 'a value of the body'})")
    key = emulator.executions[0]["idempotency_key"]
    wanted = f"PATCH /unified/crm/accounts/23423523 integrated_account={ACME} status=200 attempts=1 waited=0.0s"
    assert f"{wanted} key={key[:12]}" in run.log
    assert key not in run.log
    assert "a value of the body" not in run.log


def test_the_answer_of_one_task_is_data_of_the_next(airflow, emulator):
    run = airflow.run(
        """
        first = update("first", body={"name": "{{ '{{' }} ds {{ '}}' }}", "number_of_employees": 7})
        update(
            account_id="{{ ti.xcom_pull(task_ids='first')['id'] | int + 1 }}",
            body={
                "name": "{{ ti.xcom_pull(task_ids='first')['name'] }}",
                "number_of_employees": "{{ ti.xcom_pull(task_ids='first')['number_of_employees'] }}",
                "custom_fields": {"whole": first.output},
            },
            verify=None,
        )
        """
    )
    assert run.state == "success", run.log[-3000:]
    first, second = emulator.executions
    assert (second["record_id"], second["body"].pop("custom_fields")["whole"]["name"]) == ("23423524", "{{ ds }}")
    assert first["body"] == second["body"] == {"name": "{{ ds }}", "number_of_employees": 7}


def test_a_connections_default_customer_is_told_in_xcom(airflow):
    run = airflow.run(
        """
        TrutoUpdateAccountOperator(
            task_id="update", truto_conn_id="{{ 'of' }}_globex", account_id="70010001", body={"name": "x"}
        )
        """
    )
    assert run.update.xcom["truto"]["integrated_account_id"] == GLOBEX
