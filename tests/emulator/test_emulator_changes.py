"""Records that change by themselves, and CRMs that ignore a filter."""

import time
from datetime import datetime, timedelta, timezone

import pytest
import requests

from airflow_provider_truto.emulator import ACME, GLOBEX, default_seed

NORTHWIND = "23423523"
LIST = "/unified/crm/accounts"


@pytest.fixture
def change(emulator):
    """A function that has a record of ACME change, over the wire as another process would."""

    def call(expected=200, **spec):
        given = {"integrated_account_id": ACME, "resource": "crm/accounts", "id": NORTHWIND, **spec}
        response = requests.post(f"{emulator.url}/_emulator/changes", json=given, timeout=10)
        assert response.status_code == expected, response.text

    return call


def changed_since(truto, moment, **options):
    params = {"updated_at[gt]": moment}
    return [one["id"] for one in truto.get(LIST, params=params, **options).json()["result"]]


def test_a_record_changes_at_once_and_its_updated_at_moves(truto, change):
    before = truto.get().json()
    start = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    assert changed_since(truto, start) == []
    change(fields={"name": "Renamed", "website": None})
    after = truto.get().json()
    assert (after["name"], "website" in after, after["industry"]) == ("Renamed", False, before["industry"])
    assert after["created_at"] == before["created_at"]
    assert changed_since(truto, start) == [NORTHWIND]
    assert changed_since(truto, start, account=GLOBEX) == []


def test_a_change_may_come_after_some_calls(truto, change):
    change(fields={"name": "Renamed"}, after_calls=2)
    truto.get("/unified/crm/contacts")
    truto.get(account=GLOBEX, path=LIST)
    assert [truto.get().json()["name"] == "Renamed" for _ in range(3)] == [False, False, True]


def test_a_change_may_come_after_some_seconds_and_has_that_moment(truto, change):
    start = datetime.now(timezone.utc)
    change(after_seconds=0.2)
    change(id="23423524", after_seconds=3600)
    time.sleep(0.4)
    assert changed_since(truto, start.isoformat()) == [NORTHWIND]
    moved = datetime.fromisoformat(truto.get().json()["updated_at"].replace("Z", "+00:00"))
    assert timedelta(seconds=0.19) < moved - start


def test_a_change_may_have_another_moment_or_none_and_may_create_a_record(truto, change):
    change(fields={"updated_at": "2020-01-01T00:00:00.000Z"})
    assert truto.get().json()["updated_at"] == "2020-01-01T00:00:00.000Z"
    change(fields={"updated_at": None})
    assert "updated_at" not in truto.get().json()
    change(id="new-1", fields={"name": "New"})
    new = truto.get(f"{LIST}/new-1").json()
    assert (new["name"], new["created_at"]) == ("New", new["updated_at"])


def test_a_reset_forgets_changes_that_were_to_come(truto, change, emulator):
    change(fields={"name": "Renamed"}, after_calls=1)
    emulator.reset()
    assert [truto.get().json()["name"] for _ in range(2)] == ["Northwind Traders"] * 2


@pytest.mark.parametrize(
    "spec",
    [
        {"id": ""},
        {"integrated_account_id": "nobody"},
        {"resource": "crm/leads"},
        {"fields": {"nonsense": 1}},
        {"fields": ["name"]},
        {"after_calls": 1.5},
        {"after_seconds": -1},
        {"after_seconds": True},
        {"after_seconds": 1, "after_calls": 1},
        {"later": 1},
    ],
)
def test_a_change_that_makes_no_sense_is_refused(change, spec):
    change(400, **spec)


def test_a_crm_may_ignore_a_filter_and_lists_everything(another):
    seed = default_seed()
    seed["integrations"]["hubspot"]["ignores_filters"] = ["updated_at"]
    truto = another(seed)
    future = "2100-01-01T00:00:00Z"
    assert len(changed_since(truto, future)) == 3
    assert truto.get(LIST, params={"updated_at[gt]": future, "name": "Nobody"}).json()["result"] == []
    assert len(truto.get("/proxy/companies", params={"updatedAt[gt]": future}).json()["result"]) == 3
    schema = truto.get(f"{LIST}/hubspot/meta/list").json()["query_schema"]["properties"]
    assert ("name" in schema, "updated_at" in schema) == (True, False)
