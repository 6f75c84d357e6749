"""What a bulk has done at one Truto is not done at another: a test's emulator, a sandbox, the real one."""

from __future__ import annotations

import pytest
from bulk_operator import connect, context_of, run
from upath import UPath

from airflow_provider_truto._compat import AirflowException
from airflow_provider_truto.bulk.state.run_state import StateOptions


@pytest.fixture
def other(one, make_truto):
    """Another Truto with the same customers; Airflow's connection still leads to the first."""
    return make_truto()


def run_another_day(operator, day):
    """A run of its own of the task."""
    context = context_of(operator)
    context["ti"].run_id = f"day {day}"
    return operator.execute(context)


def test_what_one_truto_has_confirmed_is_sent_to_another_as_well(one, other, task):
    bulk = task(one.rows(), changed_only=True)
    run_another_day(bulk, 1)
    connect(other)
    assert run_another_day(bulk, 2)["updated"] == 40
    other.assert_applied(one.rows())
    connect(one)
    assert run_another_day(bulk, 3)["unchanged"] == 40, "what the first has confirmed is still known"


def test_what_left_the_source_is_deleted_only_where_it_was_written(one, other, task):
    arguments = {"changed_only": True, "on_removed": "delete", "max_removed": None}
    run_another_day(task(one.rows(), **arguments), 1)
    connect(other)
    run_another_day(task(one.rows()[:1], **arguments), 2)
    assert [call["method"] for call in other.emulator.requests if call["method"] != "PATCH"] == []


def test_the_past_of_a_bulk_is_of_one_truto(one, other, task):
    arguments = {"max_changes": (2, 7)}
    run_another_day(task(one.rows()[:12], **arguments), 1)
    connect(other)
    assert run_another_day(task(one.rows(), **arguments), 2)["updated"] == 40


@pytest.mark.parametrize("clears", [0, 1], ids=["a retry", "a cleared task"])
def test_a_ledger_is_not_gone_on_with_at_another_truto(one, other, task, clears):
    one.emulator.fault(path="r4$", status=500)
    with pytest.raises(AirflowException, match="records failed"):
        run(task(one.rows()))
    connect(other)
    with pytest.raises(AirflowException) as error:
        run(task(one.rows()), try_number=2, generation=clears)
    assert f"was begun at {one.url}, and the connection leads to {other.url} now" in str(error.value)
    assert other.emulator.requests == []
    connect(one)
    assert run(task(one.rows()), try_number=3, generation=clears)["updated"] == 40


def test_a_task_that_is_cleared_to_start_over_writes_everything_to_the_other_truto(one, other, task):
    run(task(one.rows()))
    connect(other)
    assert run(task(one.rows(), on_clear="restart"), try_number=2, generation=1)["updated"] == 40
    other.assert_applied(one.rows())


def test_servers_whose_addresses_differ_in_a_sign_have_states_of_their_own(output):
    options = StateOptions(folder=UPath(output))
    servers = ["https://gateway.test:443/a-b", "https://gateway.test:443/a/b", "http://gateway.test:443/a-b"]
    assert len({str(options.at(server).folder) for server in servers}) == len(servers)
