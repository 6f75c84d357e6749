"""How the operator ends: with success, with failures that a retry fixes, and with those that it does not."""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from bulk_operator import broken, connect, run
from bulk_world import PLANTED, account_number

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.bulk.messages import describe_duration
from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.operators import _bulk_job
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

LONGEST = 60


# ----------------------------------------------------------------------------------------------------- max_failures


@pytest.mark.parametrize(
    ("failures", "max_failures", "is_fine"),
    [
        (0, 0, True),
        (1, 0, False),
        (1, 1, True),
        (2, 1, False),
        (0, 0.0, True),
        (1, 0.0, False),
        (4, 0.1, True),
        (5, 0.1, False),
        (40, None, True),
        (40, 40, True),
    ],
)
def test_as_many_may_fail_as_the_author_has_said(one, task, failures, max_failures, is_fine):
    operator = task(broken(one.rows(), *range(failures)), max_failures=max_failures)
    if is_fine:
        counts = run(operator)
        assert (counts["updated"], counts["failed"]) == (40 - failures, failures)
    else:
        with pytest.raises(AirflowFailException, match=f"^{failures} of 40 records failed"):
            run(operator)
    assert len(one.writes()) == 40 - failures


@pytest.mark.parametrize("max_failures", [-1, True, 1.0, 1.5, -0.1])
def test_a_max_failures_that_means_nothing_is_refused_in_the_dag_file(task, max_failures):
    with pytest.raises(ValueError, match="max_failures"):
        task([], max_failures=max_failures)


def test_the_author_must_choose_how_many_may_fail(output):
    with pytest.raises(Exception, match="max_failures"):
        TrutoBulkUpdateAccountsOperator(task_id="bulk", source=[], output_path=str(output))


def test_the_failure_tells_counts_first_problems_and_where_the_failures_are(one, task):
    with pytest.raises(AirflowFailException) as failure:
        run(task(broken(one.rows(), 3, *range(10, 20))))
    text = str(failure.value)
    assert "11 of 40 records failed (11) or were skipped (0); 29 were written, 0 needed no write." in text
    assert f"\n  record r3 (row 3), of customer {one.accounts[0]}: " in text
    assert "rows are counted from 0" in text
    assert "/body/description: expects text" in text
    assert text.count("\n  record ") == 2, "row 3 is of a different customer"
    assert f"\n  record r0 (row 10) and 9 more like it, of customer {one.accounts[1]}: " in text
    [path] = [Path(word.rstrip(",").removeprefix("file://")) for word in text.split() if "failures-" in word]
    assert sorted(json.loads(line)["ordinal"] for line in path.read_text().splitlines()) == [3, *range(10, 20)]


def test_a_skipped_record_says_why_and_quotes_no_other_record_s_call(one, task, output):
    lapsed = one.accounts[0]
    one.state.accounts[lapsed].require_reauth("The customer changed the password")
    with pytest.raises(AirflowFailException):
        run(task(one.rows(), concurrency=1))
    [results] = output.rglob("results-*")
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    messages = [row["message"] for row in rows if row["status"] == "skipped"]
    assert messages == [f"skipped, not sent: customer {lapsed} must reconnect the CRM (seen at row 0)"] * 9


def test_different_problems_are_told_once_a_customer_and_error_in_their_order(one, task):
    for account in one.accounts[1:3]:
        one.state.accounts[account].require_reauth("The customer changed the password")
    operator = task([*broken(one.rows(), 0, 1, 35), {"body": {"description": "x"}}], max_failures=None, concurrency=1)
    counts = run(operator)
    heads = [problem.partition(": ")[0] for problem in counts["first_problems"]]
    assert sorted(heads) == [
        "record r0 (row 0) and 1 more like it, of customer " + one.accounts[0],
        "record r0 (row 10) and 9 more like it, of customer " + one.accounts[1],
        "record r0 (row 20) and 9 more like it, of customer " + one.accounts[2],
        "record r5 (row 35), of customer " + one.accounts[3],
        "row 40",
    ]
    assert counts["failed"] + counts["skipped"] == 24


def test_a_retry_tells_the_problems_of_earlier_tries_with_their_counts(one, task):
    lapsed = one.accounts[1]
    one.state.accounts[lapsed].require_reauth("The customer changed the password")
    one.emulator.fault(status=500, path=f"r7?integrated_account_id={one.accounts[0]}")
    with pytest.raises(AirflowException):
        run(task(broken(one.rows(), 3), concurrency=1))
    one.emulator.clear_faults()
    with pytest.raises(AirflowFailException) as failure:
        run(task(broken(one.rows(), 3)), try_number=2)
    told = str(failure.value).split("\n  ")[1:]
    assert f"record r0 (row 10) and 9 more like it, of customer {lapsed}: " in "\n".join(told)


def test_a_source_that_was_corrected_after_a_failure_is_told_the_way_out(one, task):
    """The failures file can be sent by itself; the corrected source cannot go on in the ledger of the first."""
    with pytest.raises(AirflowFailException) as first:
        run(task(broken(one.rows(), 3)))
    [path] = [word.rstrip(",") for word in str(first.value).split() if "failures-" in word]
    written = len(one.writes())
    with pytest.raises(AirflowFailException) as failure:
        run(task(one.rows()), try_number=2, generation=1)
    assert f"What had failed is in {path}: correct it there, and send these files as the source" in str(failure.value)
    assert "put the first source back and clear the task" in str(failure.value)
    assert "on_source_change='restart'" in str(failure.value)
    assert len(one.writes()) == written
    file = Path(path.removeprefix("file:"))
    file.write_text(file.read_text().replace('"description":5', '"description":"new 3"'))
    other = TrutoBulkUpdateAccountsOperator(
        task_id="again", source=[path], output_path=str(file.parents[5]), max_failures=0
    )
    run(other)
    one.assert_applied(one.rows())
    assert len(one.writes()) == 40


def test_failures_within_what_is_tolerated_are_warned_of(one, task, logged):
    run(task(broken(one.rows(), 3), max_failures=1))
    text = logged()
    assert "1 of 40 records failed" in text
    assert "max_failures=1 tolerates it" in text


# ---------------------------------------------------------------------------------------------------------- retries


def test_where_a_failure_may_pass_the_task_is_retried_and_sends_just_those(one, task):
    rows = broken(one.rows(), 7)
    one.emulator.fault(account=account_number(2), path="r4$", status=500)
    with pytest.raises(AirflowException, match="1 of them may pass: a retry sends just those") as failure:
        run(task(rows))
    assert not isinstance(failure.value, AirflowFailException)
    before = len(one.emulator.requests)
    with pytest.raises(AirflowFailException, match=r"^1 of 40 records failed") as failure:
        run(task(rows), try_number=2)
    assert [request["path"][-1] for request in one.emulator.requests[before:]] == ["r4"]
    assert "record r7 (row 7), of customer " in str(failure.value)
    assert set(one.writes().values()) == {1}


def test_a_refused_api_token_fails_the_task_at_once_and_accounts_for_nothing(one, task):
    connect(one, token="wrong")
    with pytest.raises(AirflowFailException, match="valid API token"):
        run(task(one.rows(), max_failures=None))
    assert one.emulator.executions == []
    connect(one)
    assert run(task(one.rows()), try_number=2)["updated"] == 40


def test_a_token_that_was_rotated_in_the_connection_lets_the_bulk_go_on(one, task, logged):
    one.state.add_token("the-new-one")

    def find_fault(_call):
        if len(one.emulator.requests) == 20:
            connect(one, token="the-new-one")
            one.state.revoke_token(one.token)

    one.state.find_fault = find_fault
    assert run(task(one.rows()))["updated"] == 40
    assert set(one.writes().values()) == {1}
    assert "the-new-one" not in logged()


def test_an_end_by_max_runtime_is_a_failure_that_is_retried(one, task):
    one.emulator.fault(times=None, delay_before=0.1)
    with pytest.raises(AirflowException, match=r"max_runtime of 0\.3 s is over; the next try goes on") as failure:
        run(task(one.rows(), max_runtime=0.3, concurrency=2))
    assert not isinstance(failure.value, AirflowFailException)
    one.emulator.clear_faults()
    counts = run(task(one.rows()), try_number=2)
    assert (counts["updated"], counts["resumed"] > 0) == (40, True)
    assert set(one.writes().values()) == {1}


def test_on_kill_ends_the_try_and_keeps_what_was_done(one, task, output):
    operator = task(one.rows(), concurrency=2)
    one.emulator.fault(times=None, delay_before=0.02)

    def find_fault(_call):
        if len(one.emulator.requests) == 15:
            operator.on_kill()

    one.state.find_fault = find_fault
    with pytest.raises(AirflowException, match="told to stop"):
        run(operator)
    [results] = output.rglob("results-*")
    assert results.suffix == ".jsonl"
    assert len(results.read_text().splitlines()) == len(one.writes()) < 40


def test_a_storage_that_breaks_off_while_the_source_is_read_fails_the_try_and_a_retry_goes_on(
    one, task, tmp_path, monkeypatch
):
    path = tmp_path / "source.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in one.rows()))
    operator = task(str(path))
    from airflow_provider_truto.bulk.sources.files import FileSource

    real = FileSource.records

    def records(self):
        for number, record in enumerate(real(self)):
            if number == 25:
                raise OSError("the network is gone")
            yield record

    monkeypatch.setattr(FileSource, "records", records)
    with pytest.raises(OSError, match="the network is gone"):
        run(operator)
    assert len(one.writes()) == 25
    monkeypatch.undo()
    connect(one)
    assert run(task(str(path)), try_number=2)["resumed"] == 25
    one.assert_applied(one.rows())


# --------------------------------------------------------------------------------------------------- sources change


def test_a_changed_source_fails_for_good_and_names_the_way_out(one, task):
    run(task(one.rows()))
    with pytest.raises(AirflowFailException, match="on_source_change='restart'"):
        run(task(one.rows("other")), try_number=2)
    assert len(one.writes()) == 40


def test_a_changed_source_is_started_over_where_that_is_said(one, task, logged):
    run(task(one.rows()))
    counts = run(task(one.rows("other"), on_source_change="restart"), try_number=2)
    assert (counts["updated"], counts["resumed"], counts["ledger"].endswith("/1")) == (40, 0, True)
    assert "The source has changed: starting over, in generation 1" in logged()
    one.assert_applied(one.rows("other"))
    # A retry goes on there.
    again = run(task(one.rows("other"), on_source_change="restart"), try_number=3)
    assert (again["resumed"], again["ledger"]) == (40, counts["ledger"])


# ---------------------------------------------------------------------------------------------------------- cleared


def test_clearing_a_task_that_failed_sends_what_failed_again_under_new_keys_and_nothing_else(one, task):
    lost = one.state.accounts[one.accounts[3]]
    lost.require_reauth("The customer changed the password")
    with pytest.raises(AirflowFailException, match="10 of 40 records failed"):
        run(task(one.rows()))
    lost.record.update(status="active")
    before = len(one.emulator.requests)
    counts = run(task(one.rows()), try_number=2, generation=1)
    assert (counts["updated"], counts["resumed"]) == (40, 30)
    assert len(one.emulator.requests) == before + 10
    one.assert_applied(one.rows())


def test_clearing_a_task_that_succeeded_writes_everything_again(one, task):
    run(task(one.rows()))
    assert run(task(one.rows()), try_number=2, generation=1)["resumed"] == 0
    assert len(one.writes()) == 80


# ------------------------------------------------------------------------------------------------ what needs no write


def test_records_that_are_as_they_should_be_are_counted_as_unchanged(one, task, tmp_path):
    run(task(one.rows()[:15], output_path=f"file://{tmp_path}/before"))
    counts = run(task(one.rows(), skip_unchanged=True))
    assert (counts["unchanged"], counts["updated"]) == (15, 25)


# ------------------------------------------------------------------------------------------------- what is told then


def test_xcom_gets_counts_paths_and_times_as_plain_json(one, task):
    connect(one, max_attempts=2)
    one.emulator.fault(status=429, headers={"retry-after": "1"})
    counts = run(task(broken(one.rows(), 3), max_failures=None))
    assert json.loads(json.dumps(counts)) == counts
    known = {"records", "updated", "created", "unchanged", "failed", "skipped", "resumed", "transient_failures"}
    known |= {"requests", "retries", "seconds", "waited_seconds", "paced_seconds", "first_problems", "ledger"}
    known |= {"failures"}
    assert known <= counts.keys()
    assert (counts["records"], counts["updated"], counts["failed"]) == (40, 39, 1)
    assert (counts["requests"], counts["retries"], 1 <= counts["waited_seconds"] <= 2) == (40, 1, True)
    assert counts["seconds"] > 0
    assert Path(counts["failures"][0].removeprefix("file://")).exists()
    assert Path(counts["ledger"].removeprefix("file://")).is_dir()


def test_counters_tell_what_each_try_did_of_its_own(one, task, monkeypatch):
    counted = Counter()
    monkeypatch.setattr(_bulk_job, "count_metric", lambda name, count: counted.update({name: count}))
    rows = broken(one.rows(), 7)
    one.emulator.fault(account=account_number(2), path="r4$", status=500)
    with pytest.raises(AirflowException):
        run(task(rows))
    assert +counted == {"truto.bulk.updated": 38, "truto.bulk.failed": 2}
    counted.clear()
    with pytest.raises(AirflowFailException):
        run(task(rows), try_number=2)
    assert +counted == {"truto.bulk.updated": 1}


def test_metrics_are_counted_while_it_runs(one, task, monkeypatch):
    counted = []
    monkeypatch.setattr(_bulk_job, "count_metric", lambda name, count: counted.append((name, count)))
    monkeypatch.setattr("airflow_provider_truto.bulk.housekeeping._REPORT_SECONDS", 0.0)
    one.emulator.fault(times=None, delay_before=0.1)
    run(task(one.rows(), concurrency=2))
    updated = [count for name, count in counted if name == "truto.bulk.updated" and count]
    assert len(updated) > 1
    assert sum(updated) == 40


def test_before_the_first_write_the_log_tells_rows_limit_and_the_shortest_time(one, task, logged):
    rows = one.rows()
    run(task(rows, requests_per_second=40))
    line = "40 records; 40 calls per second in this process, 5 per account; at least 0 s, for a single customer 0 s"
    assert line in logged()


def test_progress_is_logged_with_rate_and_time_left(one, task, logged, monkeypatch):
    monkeypatch.setattr("airflow_provider_truto.bulk.housekeeping._REPORT_SECONDS", 0.0)
    monkeypatch.setattr("airflow_provider_truto.bulk.progress.RATE_SECONDS", 0.6)
    one.emulator.fault(times=None, delay_before=0.1)
    run(task(one.rows(), concurrency=2))
    assert re.search(r"\b\d+ of 40 records, \d+\.\d per second, \d s left; 0 failed or skipped", text := logged())
    assert re.search(r"\b\d+ of 40 records; 0 failed or skipped", text), "no rate is told before there is one"


def test_one_call_is_not_a_line_of_the_log(one, task, logged):
    run(task(one.rows()))
    assert "PATCH" not in (text := logged())
    assert "another record" not in text


def test_answers_about_another_record_are_one_line_of_the_log(one, task, logged):
    one.emulator.fault(status=200, body={"id": "another"}, times=2)
    run(task(one.rows(), concurrency=1))
    text = logged()
    # Airflow 2 shows each line twice here.
    about = r"(\d+) of this try's answers are about another record .* the first that of record r[01] \(row [01]\)\."
    told = re.findall(about, text)
    assert set(told) == {"2"}
    assert len(told) <= 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3_600, "1 h 0 min"), (2e5, "55 h 33 min")]
)
def test_a_time_is_written_as_people_say_it(seconds, text):
    assert describe_duration(seconds) == text


def test_the_token_is_nowhere_in_the_log_the_ledger_or_what_is_raised(one, task, logged, output):
    one.emulator.fault(status=422, text=f"Bearer {PLANTED}", times=5)
    one.emulator.fault(status=500, body={"error": PLANTED, "message": f"token {PLANTED}"}, times=3)
    with pytest.raises(AirflowException) as failure:
        run(task(one.rows()))
    text = "".join(path.read_text() for path in output.rglob("*") if path.is_file())
    assert '"failed"' in text
    assert PLANTED not in text + logged() + str(failure.value) + repr(failure.value.__cause__)


def test_a_customer_that_renders_to_nothing_never_becomes_the_default_one(one, task):
    connect(one, integrated_account_id=one.accounts[0])
    with pytest.raises(AirflowFailException, match="/integrated_account_id: is empty"):
        run(task([{"id": "r1", "body": {"name": "x"}}], integrated_account_id=""))
    assert one.emulator.requests == []


# ----------------------------------------------------------------------------------------------- the operator, killed


def in_worker(conn, source, output, try_number, done):
    """What a worker does."""
    os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"] = conn
    operator = TrutoBulkUpdateAccountsOperator(
        task_id="bulk", source=source, output_path=output, max_failures=0, retries=3, concurrency=4
    )
    Path(done).write_text(json.dumps(run(operator, try_number=try_number)))


@pytest.mark.slow
def test_the_operator_survives_workers_that_are_killed(make_truto, output, written, tmp_path, monkeypatch, processes):
    monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", "")
    truto = make_truto(accounts=6, records=40)
    connect(truto, max_attempts=3)
    rows, chance, done = truto.rows(), random.Random(1), tmp_path / "done"
    source = written(rows)
    truto.break_off(0.05, seed=9, kinds=[{"status": 429, "headers": {"retry-after": "1"}}, {"reset": "after"}])
    kills = 0
    for try_number in range(1, 30):
        conn = os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"]
        process = processes.Process(target=in_worker, args=(conn, source, f"file://{output}", try_number, str(done)))
        process.start()
        goal = len(truto.emulator.executions) + chance.randrange(10, 60)
        while process.is_alive() and len(truto.emulator.executions) < min(goal, 240):
            process.join(0.005)
        if kills < 4 and process.is_alive():
            process.kill()
            kills += 1
        process.join(LONGEST)
        if done.exists():
            break
    assert kills == 4
    assert json.loads(done.read_text())["updated"] == 240
    truto.repair()
    truto.assert_applied(rows)
    assert set(truto.writes().values()) == {1}


@pytest.mark.parametrize("source", [None, 5, b"x", {"id": "r1"}])
def test_a_source_that_cannot_be_one_is_refused(one, task, source):
    with pytest.raises((ValueError, AirflowFailException, TrutoSchemaError)):
        run(task(source))
    assert one.emulator.requests == []
