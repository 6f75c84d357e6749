"""Rate limits and the headers that tell them."""

import time

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX, INITECH, UMBRELLA, default_seed

HEADERS = {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


def present(response):
    return HEADERS & {name.lower() for name in response.headers}


def test_a_unified_answer_tells_the_providers_quota(truto):
    headers = truto.get().headers
    assert headers["ratelimit-limit"] == "110;w=10"
    assert headers["ratelimit-remaining"] == "109"
    assert headers["ratelimit-reset"] == "10"


def test_an_error_of_the_provider_tells_it_too(truto):
    assert present(truto.get("/unified/crm/accounts/nobody")) == HEADERS
    assert present(truto.get(account=UMBRELLA)) == HEADERS


@pytest.mark.parametrize("path", ["/proxy/companies", "/custom/x"])
def test_other_answers_of_a_provider_tell_it_too(truto, path):
    assert present(truto.get(path)) == HEADERS


@pytest.mark.parametrize("path", ["/integrated-account", "/nowhere"])
def test_other_answers_do_not(truto, path):
    assert present(truto.get(path)) == set()


def test_a_refusal_of_truto_does_not(truto):
    assert present(truto.patch(account=INITECH, json={})) == set()


def test_nothing_is_limited_unless_asked_for(truto):
    assert {truto.get().headers["ratelimit-remaining"] for _ in range(130)} == {"109"}


def test_the_default_limits_are_those_of_truto(another):
    truto = another(rate_limits=True)
    statuses = [truto.get().status_code for _ in range(51)]
    assert statuses == [200] * 50 + [429]
    refused = truto.get()
    assert refused.headers["retry-after"] == "10"
    assert set(refused.json()) == {"statusCode", "error", "message"}
    assert refused.json()["error"] == "Too Many Requests"
    assert present(refused) == set()
    assert truto.get("/unified/crm/accounts", account=GLOBEX).status_code == 200
    assert truto.get("/integrated-account").status_code == 200
    assert len(truto.emulator.executions) == 51


def test_the_accounts_window_opens_again(another):
    truto = another(rate_limits={"account": {"requests": 2, "seconds": 0.3}})
    assert [truto.get().status_code for _ in range(3)] == [200, 200, 429]
    assert truto.get().headers["retry-after"] == "1"
    time.sleep(0.35)
    assert [truto.get().status_code for _ in range(3)] == [200, 200, 429]


def test_the_window_slides(another):
    truto = another(rate_limits={"account": {"requests": 2, "seconds": 0.6}})
    assert truto.get().status_code == 200
    time.sleep(0.4)
    assert [truto.get().status_code for _ in range(2)] == [200, 429]
    time.sleep(0.3)
    assert [truto.get().status_code for _ in range(2)] == [200, 429]


def test_a_token_is_limited_over_all_routes_and_accounts(another):
    truto = another(rate_limits={"token": {"requests": 3, "seconds": 10}})
    truto.emulator.state.add_token("other")
    assert truto.get("/integrated-account").status_code == 200
    assert truto.get().status_code == 200
    assert truto.get("/nowhere").status_code == 404
    refused = truto.get("/unified/crm/accounts", account=GLOBEX)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert truto.get(headers={"Authorization": "Bearer other"}).status_code == 200
    assert truto.get(headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_the_accounts_limit_goes_by_the_query_parameter(another):
    truto = another(rate_limits={"account": {"requests": 1, "seconds": 10}})
    assert truto.get(account="x").status_code == 404
    assert truto.get(account="x").status_code == 429
    assert [truto.get(account=None).status_code for _ in range(2)] == [400, 400]


def test_a_replay_is_a_request_like_any_other(another):
    truto = another(rate_limits={"account": {"requests": 2, "seconds": 10}})
    assert [truto.patch(json={"name": "N"}, key="k").status_code for _ in range(3)] == [200, 200, 429]


def test_the_providers_quota_is_counted_where_limits_are_on(another):
    truto = another(rate_limits={"provider": {"requests": 2, "seconds": 0.5}})
    first, second, third = truto.get(), truto.get(), truto.get()
    assert first.headers["ratelimit-limit"] == "2;w=0.5"
    assert [answer.headers["ratelimit-remaining"] for answer in (first, second, third)] == ["1", "0", "0"]
    assert third.status_code == 429
    assert third.headers["retry-after"] == third.headers["ratelimit-reset"] == "1"
    assert third.json()["truto_is_remote_error"] is True
    assert set(third.json()["truto_error_insight"]) == {"remote_error", "rate_limit_error"}
    time.sleep(0.6)
    assert truto.get().status_code == 200


def test_a_429_of_the_provider_is_not_an_answer_to_repeat(another):
    truto = another(rate_limits={"provider": {"requests": 1, "seconds": 0.3}})
    truto.get()
    assert truto.patch(json={"name": "N"}, key="k").status_code == 429
    time.sleep(0.35)
    assert truto.patch(json={"name": "N"}, key="k").status_code == 200


def test_the_seed_can_set_limits(another):
    truto = another({**default_seed(), "limits": {"account": {"requests": 1}}}, rate_limits=True)
    assert [truto.get(account=ACME).status_code for _ in range(2)] == [200, 429]
    assert truto.get(account=ACME).headers["retry-after"] == "10"


def test_a_reset_opens_every_window(another):
    truto = another(rate_limits={"account": {"requests": 1, "seconds": 10}})
    assert [truto.get().status_code for _ in range(2)] == [200, 429]
    truto.emulator.reset()
    assert truto.get().status_code == 200


BATCH = {"integrated_account_id": ACME, "resources": [{"resource": "crm/accounts", "method": "list"}]}
DATA_CALLS = [
    ("GET", "/unified/crm/accounts", None),
    ("GET", "/proxy/companies", None),
    ("GET", "/custom/x", None),
    ("POST", "/batch-request", BATCH),
]


@pytest.mark.parametrize(("method", "path", "body"), DATA_CALLS)
def test_every_call_for_an_accounts_data_counts_for_its_limit(another, method, path, body):
    truto = another(rate_limits={"account": {"requests": 2, "seconds": 10}})
    assert [truto.call(method, path, json=body).status_code for _ in range(2)] == [200, 200]
    assert [truto.call(*call, json=body).status_code for *call, body in DATA_CALLS] == [429] * 4
    assert truto.get("/unified/crm/accounts", account=GLOBEX).status_code == 200


def test_the_calls_of_a_batch_use_up_the_providers_quota(another):
    truto = another(rate_limits={"provider": {"requests": 2, "seconds": 10}})
    body = {**BATCH, "resources": BATCH["resources"] * 3}
    errors = truto.call("POST", "/batch-request", json=body).json()["errors"]["crm/accounts"]
    assert [error["statusCode"] for error in errors] == [429]


def test_what_is_left_of_a_quota_and_when_it_returns_agree(another):
    truto = another(rate_limits={"provider": {"requests": 3, "seconds": 2}})
    answers = []
    for _ in range(3):
        answers.append(truto.get())
        time.sleep(0.5)
    answers.append(truto.get())
    told = [(answer.headers["ratelimit-remaining"], answer.headers["ratelimit-reset"]) for answer in answers]
    assert told == [("2", "2"), ("1", "2"), ("0", "1"), ("0", "1")]
    assert (answers[3].status_code, answers[3].headers["retry-after"]) == (429, "1")
    time.sleep(0.6)
    answer = truto.get()
    assert (answer.status_code, answer.headers["ratelimit-remaining"]) == (200, "0")
