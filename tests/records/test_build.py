"""The call that a checked update becomes: path, query, body and key."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest

from airflow_provider_truto.records.build import build_request
from airflow_provider_truto.records.keys import TaskIdentity, make_task_key
from airflow_provider_truto.records.request import build_account_update
from airflow_provider_truto.records.validate import validate

ACCOUNT = "acae0000-0000-4000-8000-000000000001"
TASK = TaskIdentity(dag_id="d", run_id="r", task_id="t", map_index=-1, generation="g")


def call_of(*, task=None, **changes):
    whole = {"account_id": "23423523", "body": {"name": "Acme"}, "integrated_account_id": ACCOUNT}
    return build_request(validate(build_account_update(**{**whole, **changes})), task=task)


def test_the_plainest_update_is_the_documented_request():
    call = call_of()
    assert (call.method, call.path) == ("PATCH", "/unified/crm/accounts/23423523")
    assert call.query == (("integrated_account_id", ACCOUNT), ("truto_ignore_remote_data", "true"))
    assert call.body == b'{"name":"Acme"}'
    assert call.integrated_account_id == ACCOUNT
    assert not call.streamed


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({"ignore_remote_data": False}, []),
        ({"response_format": "raw", "ignore_remote_data": False}, [("truto_response_format", "raw")]),
        ({"response_format": "normalized", "ignore_remote_data": False}, [("truto_response_format", "normalized")]),
        (
            {"exclude_fields": ("id", "name")},
            [
                ("truto_ignore_remote_data", "true"),
                ("truto_exclude_fields[]", "id"),
                ("truto_exclude_fields[]", "name"),
            ],
        ),
        ({"exclude_fields": []}, [("truto_ignore_remote_data", "true")]),
        (
            {"remote_query": {"foo": "a&b=c", "deep": {"x": [1, True]}, "none": None}},
            [
                ("truto_ignore_remote_data", "true"),
                ("remote_query[foo]", "a&b=c"),
                ("remote_query[deep][x][]", "1"),
                ("remote_query[deep][x][]", "true"),
            ],
        ),
        ({"remote_query": {}}, [("truto_ignore_remote_data", "true")]),
    ],
)
def test_the_query_says_what_was_asked_for_and_no_default(changes, pairs):
    assert list(call_of(**changes).query) == [("integrated_account_id", ACCOUNT), *pairs]


@pytest.mark.parametrize("account_id", ["a/b c?d#e%2F", "../users", "..%2F", "ü💸", "a;b=c", "x\ny", "+"])
def test_an_account_id_stays_one_segment_of_the_path(account_id):
    path = call_of(account_id=account_id).path
    assert path.count("/") == 4
    assert unquote(path.rpartition("/")[2]) == account_id
    assert re.fullmatch(r"[A-Za-z0-9_.~%/-]+", path)


def test_only_the_format_stream_is_streamed():
    assert [call_of(response_format=name).streamed for name in ("unified", "raw", "normalized", "stream")] == [
        False,
        False,
        False,
        True,
    ]


def test_the_key_is_the_updates_own_before_the_tasks():
    assert call_of(idempotency_key="mine", task=TASK).idempotency_key == "mine"


def test_the_key_is_the_tasks_inside_a_task():
    expected = make_task_key(
        TASK, integrated_account_id=ACCOUNT, path="/unified/crm/accounts/23423523", body=b'{"name":"Acme"}'
    )
    assert call_of(task=TASK).idempotency_key == expected


def test_without_a_task_there_is_no_key_yet():
    assert call_of().idempotency_key is None


def test_the_body_is_what_was_checked():
    body = {"custom_fields": {"z": 1, "a": [1.0, None, "é"]}, "name": "x"}
    assert json.loads(call_of(body=body).body) == body
