"""Idempotency keys: the same for every try of one write, another for every other write."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.client.request import Request, make_random_key
from airflow_provider_truto.records.keys import CallKeys, TaskIdentity, make_task_key

TASK = TaskIdentity(dag_id="dag", run_id="run", task_id="task", map_index=-1, generation="g")
CALL = {"integrated_account_id": "acae0000", "path": "/unified/crm/accounts/1", "body": b'{"name":"Acme"}'}


def test_a_key_is_short_visible_ascii_and_says_its_version():
    assert re.fullmatch(r"v1-[0-9a-f]{64}", make_task_key(TASK, **CALL))
    assert re.fullmatch(r"v1-[0-9a-f]{32}", make_random_key())


def test_equal_writes_of_one_task_have_one_key():
    assert make_task_key(TASK, **CALL) == make_task_key(replace(TASK), **dict(CALL))


def test_a_key_is_the_same_in_every_version_of_this_package():
    """A task that is retried after an upgrade must not write twice; change the prefix where this has to change."""
    assert make_task_key(TASK, **CALL) == "v1-11b8e8fba555caba9e1c6b1dd5893f67451eee977dc6c6be133f76c4effd761d"


@pytest.mark.parametrize(
    "change",
    [
        {"dag_id": "other"},
        {"run_id": "other"},
        {"task_id": "other"},
        {"map_index": 0},
        {"map_index": 1},
        {"generation": "h"},
        {"ordinal": 1},
        {"dag_id": "task", "task_id": "dag"},
        {"dag_id": "dagrun", "run_id": ""},
    ],
    ids=str,
)
def test_another_task_run_map_index_or_generation_has_another_key(change):
    assert make_task_key(replace(TASK, **change), **CALL) != make_task_key(TASK, **CALL)


@pytest.mark.parametrize(
    "change",
    [
        {"integrated_account_id": "other"},
        {"path": "/unified/crm/accounts/2"},
        {"body": b'{"name":"Other"}'},
        {"body": b'{"name": "Acme"}'},
        {"integrated_account_id": "acae0000/unified", "path": "/crm/accounts/1"},
    ],
    ids=str,
)
def test_another_account_record_or_body_has_another_key(change):
    assert make_task_key(TASK, **{**CALL, **change}) != make_task_key(TASK, **CALL)


def test_all_of_a_mapped_task_differ():
    keys = [make_task_key(replace(TASK, map_index=index), **CALL) for index in range(200)]
    assert len(set(keys)) == 200


def request(**changes):
    given = {"method": "POST", "path": "/things", "integrated_account_id": "acae0000", "body": b"{}"}
    return Request(**{**given, **changes})


def test_equal_calls_are_numbered_and_the_order_of_different_ones_changes_no_key():
    calls = [request(), request(body=b"\xff"), request(), request(method="PUT"), request(query=(("a", "b"),))]
    calls += [request(integrated_account_id="910be000"), request(path="/others"), request(body=None)]
    made = CallKeys(TASK)
    keys = list(map(made.make_key, calls))
    assert len(set(keys)) == len(calls)
    again = CallKeys(TASK)
    assert set(map(again.make_key, reversed(calls))) == set(keys)
    assert not set(map(CallKeys(replace(TASK, generation="h")).make_key, calls)) & set(keys)


def test_random_keys_differ():
    assert len({make_random_key() for _ in range(1000)}) == 1000


identities = st.builds(
    TaskIdentity,
    dag_id=st.text(max_size=3),
    run_id=st.text(max_size=3),
    task_id=st.text(max_size=3),
    map_index=st.integers(-1, 3),
    generation=st.text(max_size=3),
    ordinal=st.integers(0, 3),
)


@given(st.sets(identities, min_size=2, max_size=5), st.text(max_size=3), st.text(max_size=3))
def test_no_two_identities_share_a_key(tasks, account, path):
    for one, other in combinations(tasks, 2):
        call = {"integrated_account_id": account, "path": path, "body": b"{}"}
        assert make_task_key(one, **call) != make_task_key(other, **call)
