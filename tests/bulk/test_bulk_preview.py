"""What a bulk would do is said before anything is sent, and another task sends just that."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from bulk_operator import broken, context_of, run
from bulk_world import account_number

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.client.errors import TrutoServerError
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator
from airflow_provider_truto.operators.unified import TrutoBulkUnifiedOperator


@pytest.fixture
def bulk(output):
    """A function that makes a task: ``bulk("apply", rows, expect=…)``."""

    def make(task_id, source=None, **arguments):
        given = {"output_path": f"file://{output}", "max_failures": 0, "retries": 3, **arguments}
        return TrutoBulkUpdateAccountsOperator(task_id=task_id, source=source, **given)

    return make


def preview(bulk, rows, **arguments):
    return run(bulk("look", rows, preview=True, **arguments))


def samples_of(shown):
    return [json.loads(line) for line in Path(shown["samples"].removeprefix("file://")).read_text().splitlines()]


def reads(truto):
    return [call for call in truto.emulator.requests if call["method"] == "GET"]


# ---------------------------------------------------------------------------------------------------------- preview


def test_a_preview_counts_what_would_be_done_for_each_customer_and_sends_nothing(one, bulk, output):
    shown = preview(bulk, broken(one.rows(), 3))
    assert (shown["rows"], shown["changes"], shown["changed"], shown["wrong"], shown["created"]) == (40, 39, 39, 1, 0)
    assert shown["accounts"][one.accounts[0]] == {"changed": 9, "wrong": 1}
    assert (shown["account_count"], shown["hash"][:3]) == (4, "p2-")
    assert not one.writes()
    whole = json.loads(Path(shown["preview"].removeprefix("file://")).read_text())
    assert (whole["hash"], whole["accounts"]) == (shown["hash"], shown["accounts"])
    assert {path.name.split("-")[0] for path in output.glob("**/0/*")} == {"preview", "samples"}
    assert Path(shown["samples"].removeprefix("file://")).stat().st_mode & 0o777 == 0o600


def test_samples_show_fields_as_they_are_and_as_they_would_be(one, bulk):
    one.state.records[one.accounts[1]]["crm/accounts"]["r2"]["properties"]["about"] = "as it was"
    shown = preview(bulk, broken(one.rows() * 2, 3))
    samples = samples_of(shown)
    by_kind = [(sample["kind"], sample["integrated_account_id"]) for sample in samples]
    assert {by_kind.count(("changed", account)) for account in one.accounts} == {10}
    assert len(reads(one)) == 40, "ten samples of each of the four customers"
    (found,) = [sample for sample in samples if sample["ordinal"] == 12]
    assert found["changes"] == [{"pointer": "/description", "before": "as it was", "after": "new 12"}]
    (wrong,) = [sample for sample in samples if sample["kind"] == "wrong"]
    assert (wrong["ordinal"], wrong["error"]) == (3, "schema")
    assert "/body/description: expects text" in wrong["message"]


def test_hidden_values_are_in_no_file_and_not_in_what_the_task_returns(one, bulk, output, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TRUTO__HIDE_VALUES", "true")
    one.state.records[one.accounts[0]]["crm/accounts"]["r0"]["properties"]["about"] = "a secret of theirs"
    shown = preview(bulk, one.rows("a secret of ours"))
    text = json.dumps(shown) + "".join(path.read_text() for path in output.rglob("*") if path.is_file())
    assert "secret" not in text
    assert one.token not in text
    assert samples_of(shown)[0]["changes"] == [{"pointer": "/description"}]


def test_with_skip_unchanged_every_record_is_read_and_what_is_right_already_is_told(one, bulk):
    for record in ("r0", "r1"):
        one.state.records[one.accounts[0]]["crm/accounts"][record]["properties"]["about"] = f"new {record[1]}"
    shown = preview(bulk, one.rows(), skip_unchanged=True)
    assert (shown["changed"], shown["unchanged"], shown["changes"], len(reads(one))) == (38, 2, 38, 40)


def test_a_record_that_is_gone_and_a_customer_who_cannot_be_read_are_told(one, bulk):
    del one.state.records[one.accounts[0]]["crm/accounts"]["r4"]
    one.state.accounts[one.accounts[2]].require_reauth("The customer changed the password")
    shown = preview(bulk, one.rows(), concurrency=1)
    assert (shown["missing"], shown["changed"], shown["wrong"]) == (1, 39, 0)
    (missing,) = [sample for sample in samples_of(shown) if sample["kind"] == "missing"]
    assert missing["id"] == "r4"
    unread = [sample for sample in samples_of(shown) if "could not be read" in sample.get("message", "")]
    assert {sample["integrated_account_id"] for sample in unread} == {one.accounts[2]}
    assert len(unread) == 1, "a customer whose records cannot be read is asked once"


def test_under_preflight_the_records_of_a_customer_who_must_reconnect_are_wrong(one, bulk):
    one.state.accounts[one.accounts[2]].require_reauth("The customer changed the password")
    shown = preview(bulk, one.rows(), preflight=True)
    assert (shown["wrong"], shown["changed"]) == (10, 30)
    assert shown["accounts"][one.accounts[2]] == {"wrong": 10}


def test_creates_and_deletes_are_told_from_updates(one, output):
    def method(name, source):
        return run(
            TrutoBulkUnifiedOperator(
                task_id=name, model="crm", resource="accounts", method=name, source=source, schema=None, preview=True,
                integrated_account_id=account_number(0), output_path=f"file://{output}", max_failures=0,
            )
        )  # fmt: skip

    created, deleted = method("create", [{"body": {"name": "Acme"}}]), method("delete", [{"id": "r1"}])
    assert (created["created"], created["changes"], deleted["changed"]) == (1, 1, 1)
    assert samples_of(created)[0]["changes"] == [{"pointer": "/name", "before": None, "after": "Acme"}]
    assert samples_of(deleted)[0]["changes"][0]["before"]["name"] == "Company r1"
    assert created["hash"] != deleted["hash"]


def test_what_the_state_knows_and_what_has_left_the_source_is_told(one, bulk, tmp_path):
    given = {"changed_only": True, "state_path": f"file://{tmp_path}/state", "on_removed": "delete", "max_removed": 5}
    run(bulk("apply", one.rows(), **given))
    writes = len(one.writes())
    rows = [*one.rows()[:30], *one.rows("newer")[30:38]]
    shown = preview(bulk, rows, **given)
    assert (shown["unchanged"], shown["changed"], shown["removed"], shown["changes"]) == (30, 8, 2, 10)
    assert len(one.writes()) == writes
    counts = run(bulk("apply", rows, expect=shown["hash"], **given), generation=5, try_number=6)
    assert (counts["unchanged"], counts["updated"]) == (30, 10)
    few = preview(bulk, rows[:3], **given)
    assert (few["removed"], few["unchanged"]) == (0, 3)
    assert "max_removed=5" in few["warnings"][0]


def test_a_preview_does_not_keep_its_rows_of_the_warehouse(one, bulk, output, sqlite):
    sqlite("create table t (id, integrated_account_id, description)")
    preview(bulk, None, sql="select * from t", sql_conn_id="warehouse")
    assert list(output.rglob("snapshot-*")) == []


def test_customers_who_cannot_be_asked_are_unclear_and_asked_once_and_the_others_go_on(one, bulk):
    one.emulator.fault(method="GET", path=f"integrated-account/{one.accounts[2]}", times=None, status=500)
    shown = preview(bulk, one.rows(), preflight=True)
    assert (shown["unclear"], shown["changed"], shown["accounts"][one.accounts[2]]) == (10, 30, {"unclear": 10})
    asked = [call for call in one.emulator.requests if call["path"] == ["integrated-account", one.accounts[2]]]
    assert len(asked) == 1
    assert "500 Internal Server Error" in shown["warnings"][0]
    one.emulator.clear_faults()
    with pytest.raises(AirflowFailException, match="not what was previewed"):
        run(bulk("apply", one.rows(), preflight=True, expect=shown["hash"]))


def test_a_preview_for_which_no_customer_can_be_asked_is_retried(one, bulk):
    one.emulator.fault(method="GET", path="integrated-account", times=None, status=500)
    with pytest.raises(TrutoServerError):
        preview(bulk, one.rows(), preflight=True)


def test_a_preview_that_is_told_to_stop_ends(one, bulk):
    operator = bulk("look", one.rows(), preview=True)
    operator.on_kill()
    with pytest.raises(AirflowException, match="told to stop; nothing was sent"):
        run(operator)
    assert one.emulator.requests == []


# ----------------------------------------------------------------------------------------------------------- expect


def test_a_later_task_sends_just_what_was_previewed(one, bulk):
    shown = preview(bulk, broken(one.rows(), 3), skip_unchanged=True)
    counts = run(bulk("apply", broken(one.rows(), 3), expect=shown["hash"], max_failures=1))
    assert (counts["updated"], counts["failed"]) == (39, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: [*rows[:-1], {**rows[-1], "body": {"description": "another"}}],
        lambda rows: [*rows[:-1], {**rows[-1], "id": "r0"}],
        lambda rows: [*rows[:-1], {**rows[-1], "integrated_account_id": account_number(0)}],
        lambda rows: broken(rows, 39),
    ],
    ids=["fewer rows", "a body", "a record", "a customer", "a row that is wrong"],
)
def test_another_plan_is_refused_before_the_first_write_and_binds_nobody(one, bulk, output, change):
    expected = preview(bulk, one.rows())["hash"]
    with pytest.raises(AirflowFailException, match=r"(?s)not what was previewed.*Nothing was sent"):
        run(bulk("apply", change(one.rows()), expect=expected))
    assert not one.writes()
    assert list(output.rglob("header-*")) == []
    assert run(bulk("apply", one.rows(), expect=expected), try_number=2)["updated"] == 40


def test_other_arguments_that_change_what_is_sent_are_another_plan(one, bulk):
    expected = preview(bulk, one.rows())["hash"]
    with pytest.raises(AirflowFailException, match="not what was previewed"):
        run(bulk("apply", one.rows(), expect=expected, mapping=lambda row: {**row, "body": {"name": "x"}}))


def test_a_retry_of_the_expecting_task_goes_on_although_the_state_has_moved(one, bulk, tmp_path):
    given = {"changed_only": True, "state_path": f"file://{tmp_path}/state"}
    expected = preview(bulk, one.rows(), **given)["hash"]
    one.emulator.fault(path="r4$", times=None, status=500)
    with pytest.raises(AirflowException, match="4 of 40 records failed"):
        run(bulk("apply", one.rows(), expect=expected, **given))
    one.emulator.clear_faults()
    counts = run(bulk("apply", one.rows(), expect=expected, **given), try_number=2)
    assert (counts["updated"], counts["resumed"]) == (40, 36)


def test_a_ledger_that_was_begun_with_another_plan_is_not_gone_on_with(one, bulk):
    expected = preview(bulk, one.rows())["hash"]
    one.emulator.fault(path="r4$", times=None, status=500)
    with pytest.raises(AirflowException, match="4 of 40 records failed"):
        run(bulk("apply", one.rows(), expect=expected))
    for other in ("p2-other", "p2-other"):
        with pytest.raises(AirflowFailException, match=f"begun with plan {expected}, and expect='{other}'"):
            run(bulk("apply", one.rows(), expect=other), try_number=2, generation=1)
    assert len(one.writes()) == 36


def test_a_preview_that_expects_another_is_refused_in_the_dag_file(bulk):
    with pytest.raises(ValueError, match="preview: sends nothing; expect goes to a later task"):
        bulk("apply", [], preview=True, expect="p2-0123")


@pytest.mark.parametrize("expect", ["p1-0123", "", "None"])
def test_what_is_not_the_hash_of_a_bulk_is_refused(one, bulk, expect):
    with pytest.raises(AirflowFailException, match=r"/expect: (expects the hash of a bulk's preview, p2-|is empty)"):
        run(bulk("apply", one.rows(), expect=expect))
    assert one.emulator.requests == []


def test_where_a_customer_cannot_be_asked_whether_it_is_the_plan_is_asked_again(one, bulk):
    expected = preview(bulk, one.rows(), preflight=True)["hash"]
    one.emulator.fault(method="GET", path=f"integrated-account/{one.accounts[2]}", times=None, status=500)
    apply = {"preflight": True, "expect": expected}
    with pytest.raises(AirflowException, match="10 rows could not be decided on") as failure:
        run(bulk("apply", one.rows(), **apply))
    assert not isinstance(failure.value, AirflowFailException)
    with pytest.raises(AirflowFailException, match="40 of 40 rows would change"):
        run(bulk("apply", one.rows(), preflight=True, max_changes=39))
    one.emulator.clear_faults()
    assert run(bulk("apply", one.rows(), **apply), try_number=2)["updated"] == 40


# ------------------------------------------------------------------------------------------------------ max_changes


@pytest.mark.parametrize(
    ("max_changes", "is_fine"),
    [(40, True), (39, False), (0, False), (0.99, False), ("40", True), ((1.5, 7), True), (None, True)],
)
def test_more_changes_than_may_be_are_refused_before_the_first_write(one, bulk, output, max_changes, is_fine):
    operator = bulk("apply", one.rows(), max_changes=max_changes)
    if is_fine:
        assert run(operator)["updated"] == 40
        return
    with pytest.raises(
        AirflowFailException, match=r"40 of 40 rows would change something \(max_changes=.*clear this"
    ):
        run(operator)
    assert one.emulator.requests == []
    assert list(output.rglob("header-*")) == []
    assert run(bulk("apply", one.rows(), max_changes=40), try_number=2, generation=1)["updated"] == 40


def test_records_that_need_no_write_are_not_counted_as_changes(one, bulk, tmp_path):
    given = {"changed_only": True, "state_path": f"file://{tmp_path}/state"}
    run(bulk("apply", one.rows(), **given))
    rows = [*one.rows()[:39], *one.rows("newer")[39:]]
    assert run(bulk("apply", rows, max_changes=1, **given), generation=1, try_number=2)["updated"] == 1
    full = {**given, "full_every": 0.001}
    counts = run(bulk("apply", rows, max_changes=0, **full), generation=2, try_number=3)
    assert counts["updated"] == 40, "what is sent again since everything is, is not a change"


def test_an_expected_plan_says_whether_every_record_is_sent(one, bulk, tmp_path):
    """The hour may have come for that between the two; and a clear with ``restart`` does just what was previewed."""
    given = {"changed_only": True, "state_path": f"file://{tmp_path}/state"}
    run(bulk("apply", one.rows(), **given))
    rows = [*one.rows()[:39], *one.rows("newer")[39:]]
    plan = preview(bulk, rows, full_every=3600, **given)["hash"]
    assert run(bulk("a", rows, expect=plan, full_every=0.001, **given))["updated"] == 1
    every = preview(bulk, rows, full_every=0.001, **given)
    assert (every["repeated"], every["changes"]) == (40, 0)
    assert run(bulk("b", rows, expect=every["hash"], full_every=3600, **given))["updated"] == 40
    rows = [*one.rows("newest")[:1], *rows[1:]]
    plan = preview(bulk, rows, **given)["hash"]
    again = bulk("apply", rows, expect=plan, on_clear="restart", **given)
    assert run(again, generation=1, try_number=2)["updated"] == 1


def nightly(bulk, rows, night, *, try_number=1, **arguments):
    operator = bulk("nightly", rows, **arguments)
    context = context_of(operator, try_number=try_number)
    context["ti"].run_id = f"night-{night}"
    return operator.execute(context)


def test_a_source_that_is_suddenly_half_as_long_is_refused(one, bulk, output):
    for night in range(3):
        nightly(bulk, one.rows(str(night)), night, max_changes=(2, 2))
    with pytest.raises(AirflowFailException, match="the source has 20 rows, and the last 2 runs had 40 at least"):
        nightly(bulk, one.rows("3")[:20], 3, max_changes=(2, 2))
    assert len(list(output.rglob("past/*/*.json"))) == 3
    assert nightly(bulk, one.rows("3")[:20], 3)["updated"] == 20


def test_a_run_counts_for_the_next_ones_when_a_retry_has_brought_it_to_its_end(one, bulk, output):
    one.emulator.fault(path="r4$", times=4, status=500)
    with pytest.raises(AirflowException, match="4 of 40 records failed"):
        nightly(bulk, one.rows(), 0, max_changes=(2, 7))
    assert list(output.rglob("past/*/*.json")) == []
    nightly(bulk, one.rows(), 0, max_changes=(2, 7), try_number=2)
    (path,) = output.rglob("past/*/*.json")
    assert json.loads(path.read_text()) == {"rows": 40, "changes": 40}


def test_a_past_that_is_torn_says_so_and_nothing_is_sent(one, bulk, output):
    nightly(bulk, one.rows(), 0, max_changes=(2, 7))
    (path,) = output.rglob("past/*/*.json")
    path.write_text('{"rows": 4')
    writes = len(one.writes())
    with pytest.raises(AirflowFailException, match=r"is torn, or not JSON.*Delete it"):
        nightly(bulk, one.rows("1"), 1, max_changes=(2, 7))
    assert len(one.writes()) == writes


def test_more_changes_than_in_the_last_nights_are_refused(one, bulk, tmp_path):
    given = {"changed_only": True, "state_path": f"file://{tmp_path}/state", "max_changes": (1.5, 1)}
    nightly(bulk, one.rows(), 0, **given)
    nightly(bulk, one.rows(), 1, **given)
    message = "16 of 40 rows would change something, and in the last 1 run it were 10 at most"
    with pytest.raises(AirflowFailException, match=message):
        nightly(bulk, [*one.rows()[:24], *one.rows("newer")[24:]], 2, **given)
    assert nightly(bulk, [*one.rows()[:25], *one.rows("newer")[25:]], 2, **given)["updated"] == 15


def test_a_run_that_is_cleared_is_not_compared_with_itself(one, bulk, output):
    nightly(bulk, one.rows()[:10], 0, max_changes=(1.5, 7))
    nightly(bulk, one.rows(), 0, max_changes=(1.5, 7), on_source_change="restart")
    assert len(list(output.rglob("past/*/*.json"))) == 2


def test_a_retry_is_not_refused_for_what_it_counts_differently(one, bulk):
    one.emulator.fault(path="r4$", times=None, status=500)
    with pytest.raises(AirflowException, match="4 of 40 records failed"):
        run(bulk("apply", one.rows(), max_changes=40))
    one.emulator.clear_faults()
    before = len(one.emulator.requests)
    assert run(bulk("apply", one.rows(), max_changes=1), try_number=2)["updated"] == 40
    assert len(one.emulator.requests) - before == 4


def test_rows_of_a_warehouse_that_were_refused_are_asked_for_again(one, bulk, sqlite, tmp_path, output):
    sqlite("create table t (id, integrated_account_id, description); ")
    database = sqlite3.connect(tmp_path / "warehouse.db")
    for row in one.rows():
        values = (row["id"], row["integrated_account_id"], row["body"]["description"])
        database.execute("insert into t values (?, ?, ?)", values)
    database.commit()
    given = {"sql": "select * from t", "sql_conn_id": "warehouse", "max_changes": 10}
    with pytest.raises(AirflowFailException, match="40 of 40 rows"):
        run(bulk("apply", **given))
    assert list(output.rglob("snapshot-*")) == []
    database.execute("delete from t where id <> 'r1'")
    database.commit()
    database.close()
    assert run(bulk("apply", **given), try_number=2, generation=1)["updated"] == 4


@pytest.mark.parametrize("max_changes", [-1, 1.5, (1, 7), (0.5, 7), (2,), (2, 0), "many", True])
def test_a_max_changes_that_means_nothing_is_refused_in_the_dag_file(bulk, max_changes):
    with pytest.raises(ValueError, match="max_changes"):
        bulk("apply", [], max_changes=max_changes)
