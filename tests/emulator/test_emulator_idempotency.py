"""`Idempotency-Key`: what is repeated, and what is executed."""

import threading
import time

import pytest
import requests

from airflow_provider_truto.emulator import ACME, GLOBEX

ACCOUNTS = "/unified/crm/accounts"
NORTHWIND = f"{ACCOUNTS}/23423523"


def writes(emulator):
    return [execution["method"] for execution in emulator.executions if execution["method"] != "GET"]


def same(first, second):
    def without_date(response):
        return {name: value for name, value in response.headers.items() if name != "date"}

    return (first.status_code, first.content, without_date(first)) == (
        second.status_code,
        second.content,
        without_date(second),
    )


BATCH = {
    "integrated_account_id": ACME,
    "resources": [{"resource": "crm/accounts", "method": "create", "body": {"name": "N"}}],
}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/unified/crm/accounts/assign-owner", {"id": "23423523", "owner": {"id": "u-9"}}),
        ("POST", "/proxy/companies", {"properties": {"name": "N"}}),
        ("POST", "/proxy/companies/merge", {"into": "23423523", "from": "23423524"}),
        ("DELETE", "/proxy/companies/23423523", None),
        ("PUT", "/custom/x", {"a": 1}),
        ("POST", "/custom/export/5000", None),
        ("POST", "/batch-request", BATCH),
    ],
)
def test_other_routes_to_data_are_repeated_as_well(truto, emulator, method, path, body):
    first, second, _ = (truto.call(method, path, json=body, key=key) for key in ("k", "k", "k-2"))
    assert first.status_code == 200
    assert same(first, second)
    assert len(writes(emulator)) == 2


@pytest.mark.parametrize("path", ["/proxy/companies", "/custom/x", "/batch-request"])
def test_faults_hit_other_routes_to_data_as_well(truto, emulator, path):
    emulator.fault(status=502, account=ACME, path=path)
    assert truto.call("POST", path, json=BATCH, key="k").status_code == 502
    assert truto.call("POST", path, json={**BATCH, "properties": {"name": "N"}}, key="k").status_code == 200
    assert len(writes(emulator)) == 1


def test_what_is_not_a_customers_data_is_not_repeated(truto):
    path, body = "/integrated-account/token", {"integrated_account_id": ACME}
    tokens = {truto.call("POST", path, json=body, key="k").text for _ in range(2)}
    assert len(tokens) == 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", NORTHWIND, {"name": "N"}),
        ("POST", ACCOUNTS, {"name": "N"}),
        ("DELETE", NORTHWIND, None),
        ("PATCH", NORTHWIND, {"name": ""}),
        ("PATCH", f"{ACCOUNTS}/nobody", {"name": "N"}),
    ],
)
def test_a_repeat_gets_the_same_bytes_and_is_not_executed(truto, emulator, method, path, body):
    first = truto.call(method, path, json=body, key="k")
    second = truto.call(method, path, json=body, key="k")
    assert same(first, second)
    assert writes(emulator) == [method]
    assert len(emulator.requests) == 2


def test_a_repeat_brings_no_header_of_its_own(truto):
    first, second = (truto.patch(json={"name": "N"}, key="k") for _ in range(2))
    assert list(first.headers) == list(second.headers)


def test_a_streamed_answer_is_repeated_as_a_stream(truto):
    params = {"truto_response_format": "stream"}
    assert same(*(truto.patch(json={"name": "N"}, params=params, key="k") for _ in range(2)))


def test_query_and_body_are_not_part_of_the_scope(truto, emulator):
    first = truto.patch(json={"name": "N"}, key="k")
    second = truto.patch(json={"name": "Other"}, params={"truto_ignore_remote_data": "true"}, key="k")
    assert same(first, second)
    assert writes(emulator) == ["PATCH"]


def test_account_path_and_key_are_the_scope(truto, emulator):
    truto.patch(NORTHWIND, json={"name": "N"}, key="k")
    truto.patch(NORTHWIND, json={"name": "N"}, key="k-2")
    truto.patch(NORTHWIND, json={"name": "N"})
    truto.patch(NORTHWIND, json={"name": "N"})
    truto.patch(f"{ACCOUNTS}/23423524", json={"name": "N"}, key="k")
    truto.patch(NORTHWIND, json={"name": "N"}, key="k", account=GLOBEX)
    assert writes(emulator) == ["PATCH"] * 6


def test_the_same_path_in_another_spelling_is_the_same_path(truto, emulator):
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    for spelled in ("23423523", "%32%33423523"):
        target = f"{ACCOUNTS}/{spelled}?integrated_account_id={ACME}"
        assert truto.raw("PATCH", target, body=b'{"name": "N"}', headers=headers).status_code == 200
    assert writes(emulator) == ["PATCH"]


def test_reads_are_never_repeated_from_memory(truto, emulator):
    truto.get(key="k")
    truto.patch(json={"name": "N"}, key="other")
    assert truto.get(key="k").json()["name"] == "N"


def test_a_repeat_needs_a_token(truto):
    truto.patch(json={"name": "N"}, key="k")
    assert truto.patch(json={"name": "N"}, key="k", headers={"Authorization": "Bearer x"}).status_code == 401


@pytest.mark.parametrize("cache_refusals", [False, True])
def test_a_refusal_is_remembered_only_where_asked_for(another, cache_refusals):
    truto = another(cache_refusals=cache_refusals, rate_limits={"account": {"requests": 1, "seconds": 0.2}})
    truto.get()
    assert truto.patch(json={"name": "N"}, key="k").status_code == 429
    time.sleep(0.25)
    assert truto.patch(json={"name": "N"}, key="k").status_code == (429 if cache_refusals else 200)


@pytest.mark.parametrize("cache_refusals", [False, True])
def test_a_scripted_answer_counts_as_a_refusal(another, cache_refusals):
    truto = another(cache_refusals=cache_refusals)
    truto.emulator.fault(status=425, headers={"X-Scripted": "1"})
    first, second = (truto.patch(json={"name": "N"}, key="k") for _ in range(2))
    assert first.status_code == 425
    assert same(first, second) is cache_refusals
    assert writes(truto.emulator) == ([] if cache_refusals else ["PATCH"])


def test_a_remembered_answer_is_not_replaced_by_a_later_refusal(another):
    truto = another(cache_refusals=True)
    truto.patch(json={"name": "N"}, key="k")
    truto.emulator.fault(status=429)
    assert truto.patch(json={"name": "N"}, key="k").status_code == 429
    assert truto.patch(json={"name": "N"}, key="k").status_code == 200


def test_a_fault_fires_on_a_repeat_without_executing_it(truto, emulator):
    truto.patch(json={"name": "N"}, key="k")
    emulator.fault(status=500, apply=True)
    assert truto.patch(json={"name": "N"}, key="k").status_code == 500
    emulator.fault(reset="after")
    with pytest.raises(requests.ConnectionError):
        truto.patch(json={"name": "N"}, key="k")
    assert truto.patch(json={"name": "N"}, key="k").status_code == 200
    assert writes(emulator) == ["PATCH"]


@pytest.mark.parametrize("when", ["delay_before", "delay_after"])
def test_a_concurrent_duplicate_waits_for_the_first_and_gets_its_answer(truto, emulator, when):
    emulator.fault(method="PATCH", **{when: 0.4})
    answers = []

    def send():
        headers = {"Authorization": f"Bearer {emulator.token}", "Idempotency-Key": "k"}
        url = f"{emulator.url}{NORTHWIND}?integrated_account_id={ACME}"
        answers.append(requests.patch(url, json={"name": "N"}, headers=headers, timeout=10))

    threads = [threading.Thread(target=send) for _ in range(4)]
    threads[0].start()
    time.sleep(0.1)
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.1)
    assert truto.patch(json={"name": "Other"}, key="other").status_code == 200, "another key need not wait"
    for thread in threads:
        thread.join()
    assert all(same(answers[0], answer) for answer in answers)
    assert sorted(writes(emulator)) == ["PATCH"] * 2


def test_after_a_refused_first_a_waiting_duplicate_is_executed(truto, emulator):
    emulator.fault(method="PATCH", status=429, delay_before=0.3)
    first = threading.Thread(target=truto.patch, kwargs={"json": {"name": "N"}, "key": "k"})
    first.start()
    time.sleep(0.1)
    target = f"{NORTHWIND}?integrated_account_id={ACME}"
    assert truto.raw("PATCH", target, body=b'{"name": "N"}', headers={"Idempotency-Key": "k"}).status_code == 200
    first.join()
    assert writes(emulator) == ["PATCH"]


def test_a_reset_forgets_every_key(truto, emulator):
    truto.patch(json={"name": "N"}, key="k")
    emulator.reset()
    assert truto.patch(json={"name": "M"}, key="k").json()["name"] == "M"
