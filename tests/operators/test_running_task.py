"""Which tries repeat one write: what Airflow shows of a task over its tries, and what is made of it.

That Airflow shows just this is what `test_identity_on_airflow` finds on a real scheduler.
"""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from airflow_provider_truto.airflow_task import read_running_task

BEGAN = datetime(2026, 3, 1, 10, tzinfo=timezone.utc)
LATER = datetime(2026, 3, 1, 11, tzinfo=timezone.utc)


class Store(dict):
    """A task state store as long as a test."""

    def set(self, key, value):
        self[key] = dict(value)


class Tries:
    """The tries of a task one after the other, each with what is another than in the one before it."""

    def __init__(self, *, airflow):
        run = SimpleNamespace(run_after=BEGAN, start_date=BEGAN, clear_number=0)
        if airflow == 2:
            run = SimpleNamespace(id=7, logical_date=BEGAN, start_date=BEGAN, clear_number=0)
        self.run = run
        self.store = Store() if airflow == 3.3 else None
        self.ti = SimpleNamespace(
            dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=0, max_tries=2, task=None
        )

    def next(self, *, try_number=None, max_tries=None, ends_well=False, **run):
        self.ti = SimpleNamespace(**vars(self.ti))  # as another process has another one
        self.ti.try_number = try_number or self.ti.try_number + 1
        self.ti.max_tries = self.ti.max_tries if max_tries is None else max_tries
        vars(self.run).update(run)
        store = {} if self.store is None else {"task_state_store": self.store}
        task = read_running_task({"ti": self.ti, "dag_run": self.run, **store})
        if ends_well:
            task.mark_done()
        return task


def generations(airflow, *tries):
    """The generation of each of the tries, by its number in order of appearance: ``[0, 0, 1]``."""
    made = Tries(airflow=airflow)
    found = [made.next(**one).identity.generation for one in tries]
    return [list(dict.fromkeys(found)).index(one) for one in found]


LOST, WELL = {}, {"ends_well": True}
#: Somebody cleared the task, or another one, in a run that still runs: Airflow counts that since 3.2.
OTHER_CLEARED = {"clear_number": 1}
FINISHED_CLEARED = {"clear_number": 1, "start_date": LATER}


@pytest.mark.parametrize("airflow", [2, 3.2, 3.3])
@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        ([LOST, LOST, LOST], [0, 0, 0]),
        ([LOST, {"max_tries": 3}, LOST], [0, 1, 1]),
        ([WELL, LOST], [0, 0]),  # its success did not reach Airflow, as without an API server
        ([WELL, {"max_tries": 3, **FINISHED_CLEARED}, LOST], [0, 1, 1]),
        ([WELL, FINISHED_CLEARED, LOST], [0, 1, 1]),  # retries were lowered: max_tries is what it was
        ([LOST, {"try_number": 1, "id": 8, "start_date": LATER}, LOST], [0, 1, 1]),  # deleted and made again
    ],
    ids=["retried", "cleared", "lost success", "cleared when finished", "lowered before", "made again"],
)
def test_retries_are_one_generation_and_clears_and_other_runs_are_others(airflow, tries, expected):
    tries = [one if airflow == 2 else {k: v for k, v in one.items() if k != "id"} for one in tries]
    assert generations(airflow, *tries) == expected


@pytest.mark.parametrize("airflow", [3.2, 3.3])
def test_a_clear_of_another_task_does_not_concern_this_one(airflow):
    assert generations(airflow, LOST, OTHER_CLEARED, LOST) == [0, 0, 0]


@pytest.mark.parametrize("airflow", [2, 3.3])
def test_a_run_that_starts_over_without_a_clear_is_the_same(airflow):
    requeued = {"start_date": LATER}
    assert generations(airflow, LOST, requeued, LOST) == [0, 0, 0]
    if airflow == 3.3:
        assert generations(airflow, LOST, requeued, OTHER_CLEARED) == [0, 0, 0]


def test_with_a_store_a_done_task_is_told_from_a_waiting_one_where_max_tries_stayed():
    assert generations(3.3, WELL, OTHER_CLEARED, LOST) == [0, 1, 1]
    assert generations(3.3, WELL, OTHER_CLEARED, {"clear_number": 2}) == [0, 1, 1]
    assert generations(3.3, WELL, {**OTHER_CLEARED, **WELL}, {"clear_number": 2}) == [0, 1, 2]
    there_and_back = [WELL, {"max_tries": 1, **OTHER_CLEARED, **WELL}, {"max_tries": 2, "clear_number": 2}, LOST]
    assert generations(3.3, *there_and_back) == [0, 1, 2, 2]


def test_a_store_that_was_emptied_tells_nothing_and_a_clear_is_still_one():
    tries = Tries(airflow=3.3)
    first = tries.next(ends_well=True)
    tries.store.clear()
    assert tries.next(max_tries=3).identity.generation != first.identity.generation


def test_a_key_may_advance_in_the_first_try_of_a_generation_only():
    tries = Tries(airflow=3.3)
    assert tries.next().key_versions.may_advance is True
    assert tries.next().key_versions.may_advance is False
    assert tries.next(max_tries=5).key_versions.may_advance is True
    assert tries.next().key_versions.may_advance is False


def test_the_number_behind_a_key_is_kept_over_the_tries_of_its_generation():
    tries = Tries(airflow=3.3)
    tries.next().key_versions.save(2)
    assert tries.next().key_versions.load() == 2
    assert tries.next(max_tries=5).key_versions.load() == 1


def test_outside_of_a_task_there_is_none():
    assert read_running_task({}) is None


@pytest.mark.parametrize("may_have_executed", [False, True])
def test_a_deferral_is_not_a_try_and_what_its_key_has_seen_is_kept(may_have_executed):
    tries = Tries(airflow=3.3)
    tries.next().key_versions.put_off(refusals=2, may_have_executed=may_have_executed)
    resumed = tries.next(try_number=1).key_versions
    assert (resumed.refusals, resumed.may_advance) == (2, not may_have_executed)
    resumed.save(2)
    assert tries.next(try_number=1).key_versions.refusals == 0
    assert tries.next(max_tries=5).key_versions.may_advance is True
