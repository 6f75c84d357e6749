"""Lists on a real Airflow: into XCom for the next task, or page by page into a file."""

from __future__ import annotations

import json
import stat

import pytest

from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.records.xcom import XCOM_LIMIT

pytestmark = pytest.mark.airflow


def fill(emulator, count, *, description="", resource="crm/accounts"):
    """Return ACME so many records, ``n-1`` to ``n-<count>``, and no others."""
    emulator.state.records[ACME][resource] = {
        f"n-{number}": {"id": f"n-{number}", "properties": {"name": f"N {number}", "about": description}}
        for number in range(1, count + 1)
    }


def ids(records):
    return [record["id"] for record in records]


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def pages_read(emulator):
    return [request for request in emulator.requests if request["method"] == "GET"]


def test_a_list_is_a_plain_list_that_a_later_task_expands_over(airflow, emulator):
    run = airflow.run(
        """
        since = {"limit": 2, "updated_at": {"gt": "2024-05-01"}}
        contacts = unified("contacts", "list", resource="contacts", query=since)

        def name(contact):
            return {"record_id": contact["id"], "body": {"title": f"was {contact.get('title')} {{{{ ds }}}}"}}

        TrutoUnifiedOperator.partial(
            task_id="t", model="crm", resource="contacts", method="update", integrated_account_id=ACME
        ).expand_kwargs(contacts.output.map(name))

        @task
        def total(contact):
            return contact["last_name"]

        total.expand(contact=contacts.output)
        """
    )
    assert run.state == "success", run.log[-3000:]
    assert ids(run["contacts"].xcom["return_value"]) == ["1003", "1004", "1005"]
    assert "remote_data" not in run["contacts"].xcom["return_value"][0]
    assert run["contacts"].xcom["truto"] == {
        "count": 3,
        "cursor": None,
        "is_partial_response": False,
        "ended_early": False,
    }
    written = {execution["record_id"]: execution["body"] for execution in emulator.executions if execution["body"]}
    # What came out of the CRM is data, also where it looks like a template.
    assert written == {
        "1003": {"title": "was CTO {{ ds }}"},
        "1004": {"title": "was None {{ ds }}"},
        "1005": {"title": "was None {{ ds }}"},
    }
    assert [run[f"total[{n}]"].xcom["return_value"] for n in range(3)] == ["Rao", "Lindqvist", "Martin"]


def test_an_empty_list_is_an_empty_list(airflow, emulator, tmp_path):
    fill(emulator, 0)
    path = tmp_path / "list.jsonl"
    run = airflow.run(f"unified('t', 'list')\nunified('f', 'list', output_path={str(path)!r})")
    assert run["t"].xcom["return_value"] == []
    assert run["f"].xcom["return_value"] == {"count": 0, "path": str(path), "cursor": None}
    assert path.read_bytes() == b""


def test_a_page_may_be_empty_while_more_follow(airflow, emulator):
    emulator.fault(method="GET", body={"result": [], "next_cursor": "c3RhcnQ9MA=="})
    run = airflow.run("unified('t', 'list')")
    assert ids(run["t"].xcom["return_value"]) == ["23423523", "23423524", "23423525"]


def test_a_list_too_large_for_xcom_fails_without_a_retry_and_reads_no_further(airflow, emulator):
    fill(emulator, 12, description="x" * 50_000)
    run = airflow.run("unified('t', 'list', query={'limit': 2}, retries=2)")
    assert (run["t"].state, run["t"].tries) == ("failed", 1)
    assert (run["t"].failure["type"], run["t"].failure["cause"]) == ("AirflowFailException", "TrutoSchemaError")
    message = run["t"].failure["message"]
    assert f"  /output_path: is needed: the list has more than the {XCOM_LIMIT} bytes" in message
    assert "(after 5 records)" in message
    assert "max_records" in message
    assert len(pages_read(emulator)) == 3
    assert "return_value" not in run["t"].xcom


def test_the_same_list_goes_to_a_file(airflow, emulator, tmp_path):
    fill(emulator, 12, description="é" * 50_000)
    path = tmp_path / "new" / "list.jsonl"
    run = airflow.run("unified('t', 'list', output_path='{{ params.path }}')", params={"path": str(path)})
    assert run["t"].failures == []
    assert ids(lines(path)) == [f"n-{n}" for n in range(1, 13)]
    assert all("remote_data" not in record for record in lines(path))
    assert run["t"].xcom["return_value"] == {"count": 12, "path": str(path), "cursor": None}
    assert run["t"].xcom["truto"] == {
        "count": 12,
        "cursor": None,
        "is_partial_response": False,
        "ended_early": False,
        "path": str(path),
        "bytes": path.stat().st_size,
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["list.jsonl"]
    assert "list of crm/accounts: 12 records" in run.log


@pytest.mark.parametrize(
    ("limit", "wanted", "count", "pages"), [(2, 1, 2, 1), (2, 2, 2, 1), (2, 3, 4, 2), (2, 99, 7, 4), (7, 7, 7, 1)]
)
def test_max_records_ends_a_list_with_the_page_in_which_it_is_reached(airflow, emulator, limit, wanted, count, pages):
    fill(emulator, 7)
    run = airflow.run(f"unified('t', 'list', query={{'limit': {limit}}}, max_records={wanted})")
    assert ids(run["t"].xcom["return_value"]) == [f"n-{n}" for n in range(1, count + 1)]
    assert len(pages_read(emulator)) == pages
    assert (run["t"].xcom["truto"]["cursor"] is None) == (count == 7)
    assert ("and more after that" in run.log) == (count < 7)


@pytest.mark.parametrize("to_file", [False, True], ids=["to xcom", "to a file"])
def test_a_list_resumes_at_its_cursor_with_exactly_the_rest(airflow, emulator, tmp_path, to_file):
    fill(emulator, 7)
    path = "output_path='{{ params.to }}/{{ task.task_id }}'," if to_file else ""
    pulled = "task_ids='first')['cursor']" if to_file else "task_ids='first', key='truto')['cursor']"
    run = airflow.run(
        f"""
        first = unified("first", "list", {path} query={{"limit": 2}}, max_records=3)
        rest = unified("rest", "list", {path} query={{"limit": 2, "next_cursor": "{{{{ ti.xcom_pull({pulled} }}}}"}})
        first >> rest
        """,
        params={"to": str(tmp_path)},
    )
    assert run.state == "success", run.log[-3000:]
    found = [lines(tmp_path / name) if to_file else run[name].xcom["return_value"] for name in ("first", "rest")]
    assert [ids(records) for records in found] == [["n-1", "n-2", "n-3", "n-4"], ["n-5", "n-6", "n-7"]]
    assert run["first"].xcom["truto"]["cursor"]
    assert run["rest"].xcom["truto"]["cursor"] is None


def test_a_list_that_was_read_to_its_end_is_not_read_again_from_its_beginning(airflow, emulator):
    run = airflow.run(
        """
        first = unified("first", "list")
        first >> unified(
            "rest", "list", query={"next_cursor": "{{ ti.xcom_pull(task_ids='first', key='truto')['cursor'] }}"}
        )
        """
    )
    assert run["rest"].state == "failed"
    assert "/query/next_cursor: " in run["rest"].failure["message"]
    assert "is None" in run["rest"].failure["message"]
    assert len(emulator.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [{"status": 400}, {"status": 502}, {"reset": "before"}, {"cut": 20}, {"body": {"no": "list"}}],
    ids=str,
)
def test_a_failure_midway_leaves_no_file(airflow, emulator, tmp_path, fault):
    fill(emulator, 7)
    emulator.fault(method="GET", skip=2, **fault)
    run = airflow.run(f"unified('t', 'list', query={{'limit': 2}}, output_path={str(tmp_path / 'list')!r})")
    assert run["t"].state == "failed"
    assert len(pages_read(emulator)) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_failure_midway_leaves_the_file_of_an_earlier_run_as_it_was_and_a_retry_replaces_it(
    airflow, emulator, tmp_path
):
    fill(emulator, 7)
    path = tmp_path / "list"
    path.write_text("of an earlier run")
    emulator.fault(method="GET", skip=2, status=502)
    task = f"unified('t', 'list', query={{'limit': 2}}, output_path={str(path)!r}, retries="
    assert airflow.run(f"{task}0)")["t"].state == "failed"
    assert path.read_text() == "of an earlier run"

    emulator.fault(method="GET", skip=2, status=502)
    run = airflow.run(f"{task}1)")
    assert (run["t"].state, run["t"].tries) == ("success", 2)
    assert ids(lines(path)) == [f"n-{n}" for n in range(1, 8)]
    assert list(tmp_path.iterdir()) == [path]


def test_ten_thousand_records_go_to_a_file(airflow, emulator, tmp_path):
    fill(emulator, 10_000)
    path = tmp_path / "list.jsonl"
    run = airflow.run(f"unified('t', 'list', query={{'limit': 1000}}, output_path={str(path)!r})")
    assert run["t"].xcom["return_value"] == {"count": 10_000, "path": str(path), "cursor": None}
    assert ids(lines(path)) == [f"n-{n}" for n in range(1, 10_001)]
    assert len(pages_read(emulator)) == 10


def test_a_cursor_that_goes_in_a_circle_ends_the_list_with_a_warning(airflow, emulator):
    page = {"result": [{"id": "1"}], "next_cursor": "same"}
    emulator.fault(method="GET", body=page, times=None)
    run = airflow.run("unified('t', 'list')")
    assert run["t"].state == "success"
    assert len(run["t"].xcom["return_value"]) == 2
    assert "a cursor that it had given before" in run.log
    assert run["t"].xcom["truto"]["ended_early"] is True


def test_a_response_that_truto_calls_partial_is_told(airflow, emulator):
    emulator.fault(method="GET", body={"result": [], "next_cursor": None, "is_partial_response": True})
    run = airflow.run("unified('t', 'list')")
    assert run["t"].xcom["truto"]["is_partial_response"] is True
    assert "this response is partial" in run.log


def test_a_list_keyed_by_a_field_is_a_list_all_the_same(airflow):
    run = airflow.run("unified('t', 'list', query={'truto_key_by': 'id'})")
    assert ids(run["t"].xcom["return_value"]) == ["23423523", "23423524", "23423525"]


def test_the_values_of_records_are_not_in_the_log(airflow):
    run = airflow.run("unified('t', 'list')\nunified('g', 'get', record_id=RECORD)")
    assert run.state == "success"
    assert "Northwind" not in run.log


def test_a_long_list_says_how_far_it_is_between_its_pages_and_a_short_one_nothing(airflow, emulator):
    fill(emulator, 60)
    run = airflow.run("""
        from airflow_provider_truto.operators import _progress

        def be(seconds):
            def set_seconds(*_):
                _progress.FIRST_SECONDS = _progress.SECONDS = seconds
            return set_seconds

        long = unified("long", "list", query={"limit": 10}, pre_execute=be(0.0), post_execute=be(5.0))
        long >> unified("short", "list", query={"limit": 10})
    """)
    progress = run["long"].xcom["progress"]
    assert (progress["pages"], progress["records"]) == (6, 60)
    assert progress.keys() == {"pages", "records", "per_second", "seconds", "at"}
    assert "progress" not in run["short"].xcom
