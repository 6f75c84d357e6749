"""What the page `/` is told; `ui/test_emulator_page_ui.py` looks at it in a browser."""

from __future__ import annotations

import time

import pytest
import requests

from airflow_provider_truto.emulator import ACME, GLOBEX

RECORD = "23423523"


@pytest.fixture
def shown(truto):
    """A function that returns what the page shows now."""
    return lambda: requests.get(f"{truto.emulator.url}/_emulator/page", timeout=10).json()


def find(entries, **wanted):
    (found,) = [entry for entry in entries if wanted.items() <= entry.items()]
    return found


def accounts_of(shown, tenant):
    return find(find(shown["customers"], tenant_id=tenant)["resources"], key="crm/accounts")


def test_an_update_lands_in_the_record_its_history_and_the_calls(truto, shown):
    assert shown()["calls"] == []
    truto.patch(json={"number_of_employees": 150}, key="v1-test")
    truto.patch(json={"name": 5})
    now = shown()
    record = accounts_of(now, "acme")["records"][0]
    assert (record["id"], record["unified"]["number_of_employees"]) == (RECORD, 150)
    written = record["history"][0]
    assert (written["method"], written["status"], written["body"]) == ("PATCH", 200, {"number_of_employees": 150})
    assert written["key"] == "v1-test"
    assert abs(written["at"] / 1000 - time.time()) < 60
    assert accounts_of(now, "globex")["records"][0]["history"] == []
    assert [(call["number"], call["method"], call["customer"]) for call in now["calls"]] == [
        (2, "PATCH", "acme"),
        (1, "PATCH", "acme"),
    ]


def test_a_record_of_the_proxy_api_has_the_same_history(truto, shown):
    truto.call("PATCH", f"/proxy/companies/{RECORD}", json={"properties": {"name": "Initrode"}})
    assert len(accounts_of(shown(), "acme")["records"][0]["history"]) == 1


def test_faults_are_shown_while_they_are_armed_and_what_they_answered_after(truto, shown):
    truto.emulator.fault(method="PATCH", status=503, times=1)
    truto.emulator.fault(method="PATCH", reset="before")
    assert shown()["faults"] == [
        {"method": "PATCH", "times": 1, "status": 503},
        {"method": "PATCH", "times": 1, "reset": "before"},
    ]
    truto.patch(json={"name": "x"})
    with pytest.raises(requests.ConnectionError):
        truto.patch(json={"name": "x"})
    now = shown()
    assert now["faults"] == []
    assert [call["status"] for call in now["calls"]] == [None, 503]


def test_the_limits_used_are_those_of_the_last_seconds(truto, shown):
    for account in (ACME, ACME, GLOBEX):
        truto.get("/unified/crm/accounts", account=account)
    truto.call("GET", "/integrated-account")
    now = shown()
    assert {one["tenant_id"]: one["used"] for one in now["customers"] if one["used"]} == {"acme": 2, "globex": 1}
    assert now["limits"] == {"are_enforced": False, "account": 50, "token": 500, "seconds": 10, "used": 3}


def test_looking_is_not_a_call_and_a_crowd_is_cut(truto, shown):
    for number in range(210):
        truto.call("POST", "/unified/crm/accounts", json={"name": f"n{number}"})
    now = shown()
    assert (now["count"], len(now["calls"]), now["calls"][0]["number"]) == (210, 200, 210)
    accounts = accounts_of(now, "acme")
    assert (accounts["count"], len(accounts["records"])) == (213, 25)
    assert accounts["records"][0]["unified"]["name"] == "n209"


def test_the_page_loads_nothing_from_elsewhere_and_strangers_do_not_get_it(truto):
    page = requests.get(truto.emulator.url, timeout=10)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "innerHTML" not in page.text
    for path in ("/", "/_emulator/page"):
        for header in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            assert requests.get(truto.emulator.url + path, headers=header, timeout=10).status_code == 403
