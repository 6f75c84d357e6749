"""How far a bulk is, in XCom while it runs. On real schedulers: tests/operators/test_progress_on_airflow.py."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from bulk_operator import broken, connect, run

from airflow_provider_truto import _compat
from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.bulk import housekeeping, progress
from airflow_provider_truto.operators import _progress

LONGEST = 20


@pytest.fixture
def eager(monkeypatch):
    """Has every report pushed, and a rate told soon."""
    monkeypatch.setattr(housekeeping, "_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "RATE_SECONDS", 0.6)
    monkeypatch.setattr(_progress, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(_progress, "SECONDS", 0.0)


@pytest.fixture
def pushed():
    return []


@pytest.fixture
def push(pushed):
    """Takes XComs, in the order and from the thread that they come in."""

    def take(*, key, value):
        assert key == "progress"
        pushed.append((value, threading.current_thread()))

    return take


@pytest.mark.usefixtures("eager")
def test_a_bulk_says_how_far_it_is_and_where_it_ended_whether_it_failed_or_not(one, task, push, pushed):
    one.emulator.fault(times=None, delay_before=0.1)
    with pytest.raises(AirflowFailException):
        run(task(broken(one.rows(), 3, 4), concurrency=2, max_failures=1), push=push)
    *while_it_ran, (last, thread) = pushed
    seen = [value for value, _ in while_it_ran]
    assert all(0 < value["done"] <= value["of"] == 40 for value in seen)
    assert [value["done"] for value in seen] == sorted(value["done"] for value in seen)
    assert any(value["per_second"] and value["seconds_left"] for value in seen)
    assert all(thread is not threading.main_thread() for _, thread in while_it_ran), "the sending never waits for it"
    assert thread is threading.main_thread()
    assert {**last, "per_second": 0, "at": ""} == {
        "done": 40,
        "of": 40,
        "failed": 2,
        "per_second": 0,
        "seconds_left": 0,
        "at": "",
    }
    assert last["at"].endswith("+00:00")


@pytest.mark.usefixtures("eager")
def test_an_airflow_that_does_not_answer_holds_up_nothing(one, task, pushed):
    one.emulator.fault(times=None, delay_before=0.1)
    written = []

    def push(*, key, value):
        pushed.append((key, value["done"]))
        deadline = time.monotonic() + LONGEST
        while len(one.writes()) < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        written.append(len(one.writes()))

    assert run(task(one.rows(), concurrency=2), push=push)["updated"] == 40
    assert set(written) == {40}, "the rest was written while the first push waited"
    assert [done for _, done in pushed if done < 40] == [pushed[0][1]], "one at a time"


@pytest.mark.usefixtures("eager")
def test_a_push_that_fails_is_told_once_and_fails_nothing(one, task, logged, pushed):
    one.emulator.fault(times=None, delay_before=0.1)

    def push(**value):
        pushed.append(value)
        raise ConnectionError("the API server is gone")

    assert run(task(one.rows(), concurrency=2), push=push)["updated"] == 40
    assert len(pushed) > 1
    told = "could not be pushed to XCom (told once): ConnectionError: the API server is gone"
    assert {line for line in logged().splitlines() if told in line}
    assert logged().count(told) <= 2, "Airflow 2 shows each line twice here"


def test_a_bulk_that_takes_no_time_pushes_once_and_one_without_xcom_never(one, task, push, pushed):
    run(task(one.rows()), push=push)
    assert [value["done"] for value, _ in pushed] == [40]
    pushed.clear()
    run(task(one.rows(), do_xcom_push=False), push=push)
    assert pushed == []


@pytest.mark.usefixtures("eager")
def test_what_is_pushed_are_numbers_and_a_time(one, task, push, pushed):
    connect(one, data_auth="account")
    run(task(one.rows()), push=push)
    for value, _ in pushed:
        assert {type(one) for name, one in value.items() if name != "at"} <= {int, float, type(None)}


def test_threads_that_talk_to_airflow_s_supervisor_take_turns(monkeypatch):
    """Airflow 3.0 and 3.1 would read each other's answers."""
    inside, seen = [], []

    def talk(*_, **__):
        inside.append(1)
        seen.append(len(inside))
        time.sleep(0.02)
        inside.pop()

    monkeypatch.setattr(_compat.BaseHook, "get_connection", talk)
    ti = SimpleNamespace(xcom_push=talk)
    talks = [lambda: _compat.push_xcom(ti, "progress", {}), lambda: _compat._get_connection("x")]
    threads = [threading.Thread(target=one) for one in talks * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 8
