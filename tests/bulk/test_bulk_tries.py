"""A later try that finds nothing of an earlier one: workers that do not share the ledger's folder."""

from __future__ import annotations

import json

import pytest
from bulk_operator import broken, connect, run

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.operators.unified import TrutoBulkUnifiedOperator

ABSENT = "and no earlier try left a ledger in "


@pytest.fixture
def create(output, one):
    """A function that makes a bulk of creates."""

    def make(method="create", **arguments):
        rows = [{"integrated_account_id": account, "body": {"name": "New"}} for account in one.accounts]
        given = {"source": rows, "output_path": f"file://{output}", "max_failures": 0, "retries": 3, **arguments}
        return TrutoBulkUnifiedOperator(task_id="bulk", model="crm", resource="accounts", method=method, **given)

    return make


def marks(output):
    return sorted(json.loads(path.read_text())["try"] for path in output.rglob("try-*.json"))


@pytest.mark.parametrize("generation", [0, 1], ids=["a retry", "after a clear"])
def test_a_later_try_of_an_update_that_finds_nothing_says_so_loudly_and_goes_on(
    one, task, logged, output, generation
):
    run(task(one.rows()), try_number=2, generation=generation)
    text = logged()
    assert f"This is try 2, {ABSENT}" in text
    assert "do all workers share it? This one is " in text
    assert marks(output) == [2]
    one.assert_applied(one.rows())


@pytest.mark.parametrize("generation", [0, 1], ids=["a retry", "after a clear"])
def test_a_later_try_of_a_create_that_finds_nothing_sends_nothing(one, create, output, generation):
    for _ in range(2):  # a clear alone does not let it pass
        with pytest.raises(AirflowFailException, match=rf"{ABSENT}.*do all workers share it\?.*on_clear='restart'"):
            run(create(), try_number=2, generation=generation)
    assert one.emulator.executions == []
    assert marks(output) == []
    run(create(on_clear="restart"), try_number=3, generation=2)
    assert len(one.emulator.executions) == 4


def test_a_custom_method_may_not_be_what_it_was_either(one, create):
    with pytest.raises(AirflowFailException, match=ABSENT):
        run(create(method="merge"), try_number=2)


def test_a_try_that_failed_before_its_ledger_was_begun_has_left_a_mark(one, create, logged, output):
    connect(one, max_attempts=0)  # a connection that cannot be right
    with pytest.raises(AirflowException):
        run(create(), try_number=1)
    connect(one)
    with pytest.raises(AirflowFailException):
        run(create(source=str(output / "gone.jsonl")), try_number=2)
    with pytest.raises(AirflowFailException):
        run(create(source=broken(one.rows(), 1), validate_first=True), try_number=3)
    assert not list(output.rglob("header-*"))
    run(create(), try_number=4)
    assert ABSENT not in logged()
    assert marks(output) == [1, 2, 3, 4]
    assert len(one.emulator.executions) == 4


def test_a_ledger_of_an_earlier_version_needs_no_mark(one, task, output, logged):
    with pytest.raises(AirflowFailException):
        run(task(broken(one.rows(), 1)))
    [mark] = output.rglob("try-*.json")
    mark.unlink()
    with pytest.raises(AirflowFailException, match="1 of 40 records failed"):
        run(task(broken(one.rows(), 1)), try_number=2)
    assert ABSENT not in logged()


def test_an_empty_folder_is_not_an_earlier_try(one, create, output):
    (output / "dag" / "run" / "bulk" / "-1" / "0").mkdir(parents=True)
    with pytest.raises(AirflowFailException, match=ABSENT):
        run(create(), try_number=2)
