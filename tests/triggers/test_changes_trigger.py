"""``TrutoChangesTrigger`` against the emulator; ``test_changes_on_airflow.py`` runs it under an ``AssetWatcher``."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from loop_steps import measured_steps
from test_docs import EVENTS

from airflow_provider_truto._compat import IS_AIRFLOW_2
from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.triggers import changes
from airflow_provider_truto.triggers.changes import TrutoChangesTrigger

try:
    from airflow.sdk.definitions.asset import AssetNameRef
except ImportError:  # Airflow 2.11
    AssetNameRef = None

ASSET = "acme_accounts"
KEY = f"truto/changes/crm/accounts/{ACME}"
FIRST, SECOND = "23423523", "23423524"
GIVEN = {"asset_name": ASSET, "model": "crm", "resource": "accounts", "integrated_account_ids": [ACME]}

needs_airflow_3 = pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2 has no AssetWatcher")


class Stores:
    """The state stores of assets as Airflow 3.3.2 hands them to a trigger: by a reference to the asset."""

    def __init__(self, *names):
        self.values = {name: {} for name in names}
        self.failing = 0

    def __getitem__(self, ref):
        return Store(self, self.values[ref.name])


class Store:
    def __init__(self, stores, values):
        self.stores, self.values = stores, values

    async def aget(self, key, default=None):
        return self.values.get(key, default)

    async def aset(self, key, value):
        if self.stores.failing:
            self.stores.failing -= 1
            raise RuntimeError("the API server is gone")
        self.values[key] = json.loads(json.dumps(value))


@pytest.fixture
def crm(emulator, connection, monkeypatch):
    """The emulator with a connection to it; ``crm.change(id, **fields)`` changes a record of ACME."""
    connection(emulator.url, emulator.token, requests_per_second=0)
    monkeypatch.setattr(changes, "STORED_AFTER", 0)
    # What Airflow logs with goes past pytest.
    monkeypatch.setattr(TrutoChangesTrigger, "log", logging.getLogger("changes"))
    return emulator


def change(emulator, record_id=FIRST, *, account=ACME, after_calls=0, **fields):
    emulator.change(
        integrated_account_id=account, resource="crm/accounts", id=record_id, fields=fields, after_calls=after_calls
    )


def trigger_of(*, stores=None, poll_interval=0.05, **arguments):
    trigger = TrutoChangesTrigger(**{**GIVEN, **arguments})
    trigger.poll_interval = poll_interval
    trigger.asset_state_store = stores
    return trigger


@asynccontextmanager
async def running(trigger):
    """Run a trigger as the triggerer does; a queue of its payloads. It must not end, whatever happens."""
    payloads = asyncio.Queue()

    async def collect():
        async for event in trigger.run():
            await payloads.put(json.loads(json.dumps(event.payload)))

    task = asyncio.create_task(collect())
    try:
        yield payloads
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition):
    async def wait():
        while not condition():
            await asyncio.sleep(0.02)

    await asyncio.wait_for(wait(), 30)


async def first(payloads):
    return await asyncio.wait_for(payloads.get(), 30)


def looks(emulator, account=ACME):
    """The lists that were asked for of a customer, first pages only."""
    asked = [dict(one["query"]) for one in emulator.requests if one["method"] == "GET"]
    return [one for one in asked if one["integrated_account_id"] == account and "next_cursor" not in one]


async def looked(emulator, more=2):
    """Wait for whole looks from now on."""
    count = len(looks(emulator))
    await until(lambda: len(looks(emulator)) > count + more)


@needs_airflow_3
def test_each_change_is_told_once_with_its_customer_and_the_time_span(crm):
    async def scenario():
        start = datetime.now(timezone.utc)
        async with running(trigger_of(integrated_account_ids=[ACME, GLOBEX])) as payloads:
            await looked(crm)
            assert payloads.empty()
            now = datetime.now(timezone.utc)
            change(crm, FIRST, name="Renamed", updated_at=now.isoformat())
            change(crm, SECOND, updated_at=(now - timedelta(seconds=1)).isoformat())
            told = [await first(payloads)]
            while sum(one["count"] for one in told) < 2:  # a look may come between the two
                told.append(await first(payloads))
            await looked(crm)
            assert payloads.empty()
            change(crm, FIRST)
            again = await first(payloads)
        return start, told, again

    start, told, again = asyncio.run(scenario())
    assert [record_id for one in told for record_id in one["ids"]] in ([SECOND, FIRST], [FIRST, SECOND])
    assert again["ids"] == [FIRST]
    assert again.keys() == {name.strip("` ") for names, _ in EVENTS.table("key") for name in names.split(",")}
    assert (again["integrated_account_id"], again["model"], again["resource"]) == (ACME, "crm", "accounts")
    assert (again["count"], again["undated"]) == (1, 0)
    since, until = (datetime.fromisoformat(again[name]) for name in ("watermark_from", "watermark_to"))
    assert since < start < until


@needs_airflow_3
def test_each_look_goes_back_before_the_start_of_the_last_one_by_the_overlap(crm):
    def back(seconds):
        return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")

    async def scenario():
        async with running(trigger_of(overlap=3600, stores=Stores(ASSET))) as payloads:
            await looked(crm)
            change(crm, FIRST, updated_at=back(7200))
            change(crm, SECOND, updated_at=back(1800))
            payload = await first(payloads)
            await looked(crm, more=3)
            assert payloads.empty()
        return payload

    payload = asyncio.run(scenario())
    assert payload["ids"] == [SECOND]
    *_, before, last = [datetime.fromisoformat(one["updated_at[gt]"].replace("Z", "+00:00")) for one in looks(crm)]
    assert before < last < datetime.now(timezone.utc) - timedelta(seconds=3600)


@needs_airflow_3
def test_a_crm_that_ignores_the_filter_changes_nothing_but_the_log(crm, caplog):
    account = crm.state.accounts[ACME]
    account.integration = replace(account.integration, ignores_filters=("updated_at",))

    async def scenario():
        async with running(trigger_of(query={"limit": 1})) as payloads:
            await looked(crm)
            assert payloads.empty()
            change(crm, SECOND)
            return await first(payloads)

    assert asyncio.run(scenario())["ids"] == [SECOND]
    assert caplog.text.count("does not filter by updated_at") == 1


@needs_airflow_3
def test_a_record_without_updated_at_is_never_told_but_counted_and_warned_of(crm, caplog):
    for moment in (None, "2026-11-26"):
        account = crm.state.accounts[ACME]
        account.integration = replace(account.integration, ignores_filters=("updated_at",))
        change(crm, FIRST if moment else "new-1", updated_at=moment)

    async def scenario():
        async with running(trigger_of()) as payloads:
            await looked(crm)
            change(crm, SECOND)
            return await first(payloads)

    payload = asyncio.run(scenario())
    assert (payload["ids"], payload["undated"]) == ([SECOND], 2)
    assert caplog.text.count("2 records have no updated_at") == 1


@needs_airflow_3
def test_more_ids_than_fit_are_counted(crm, monkeypatch):
    monkeypatch.setattr(changes, "MOST_IDS", 2)
    for record_id in (FIRST, SECOND, "23423525"):
        change(crm, record_id)

    async def scenario():
        async with running(trigger_of(query={"limit": 1})) as payloads:
            return await first(payloads)

    payload = asyncio.run(scenario())
    assert (payload["ids"], payload["count"]) == ([FIRST, SECOND], 3)


# ------------------------------------------------------------------------------------------------------- restarts


@needs_airflow_3
def test_with_a_state_store_a_restart_tells_what_was_missed_and_nothing_twice(crm):
    stores = Stores(ASSET)

    async def scenario():
        async with running(trigger_of(stores=stores)) as payloads:
            await until(lambda: KEY in stores.values[ASSET])  # also where nothing has changed yet
        change(crm, FIRST)
        async with running(trigger_of(stores=stores)) as payloads:
            missed = await first(payloads)
            await looked(crm)
        async with running(trigger_of(stores=stores)) as payloads:
            await looked(crm)
            assert payloads.empty()
            change(crm, SECOND)
            new = await first(payloads)
            await until(lambda: stores.values[ASSET][KEY]["watermark"] == new["watermark_to"])
        return missed, new

    missed, new = asyncio.run(scenario())
    assert (missed["ids"], new["ids"]) == ([FIRST], [SECOND])


@needs_airflow_3
def test_the_cursor_moves_only_after_airflow_can_have_stored_the_event(crm, monkeypatch):
    monkeypatch.setattr(changes, "STORED_AFTER", 600)
    stores = Stores(ASSET)
    change(crm)

    async def scenario():
        told = []
        for _ in range(2):
            async with running(trigger_of(stores=stores)) as payloads:
                told.append((await first(payloads))["ids"])
        return told

    assert asyncio.run(scenario()) == [[FIRST], [FIRST]]
    assert stores.values[ASSET] == {}


@needs_airflow_3
@pytest.mark.parametrize("stores", [None, {AssetNameRef(name=ASSET): object()} if AssetNameRef else None])
def test_without_a_state_store_that_can_be_awaited_a_restart_starts_over(crm, stores):
    """Airflow 3.3.0 and 3.3.1 have one that cannot."""

    async def scenario():
        change(crm, FIRST)
        told = []
        for _ in range(2):
            async with running(trigger_of(stores=stores)) as payloads:
                told.append((await first(payloads))["ids"])
        return told

    assert asyncio.run(scenario()) == [[FIRST], [FIRST]]


@needs_airflow_3
def test_a_cursor_that_cannot_be_saved_is_saved_later_and_nothing_is_told_twice(crm):
    stores = Stores(ASSET)
    stores.failing = 2

    async def scenario():
        change(crm)
        async with running(trigger_of(stores=stores)) as payloads:
            payload = await first(payloads)
            await until(lambda: KEY in stores.values[ASSET])
            await looked(crm)
            assert payloads.empty()
        return payload

    assert asyncio.run(scenario())["ids"] == [FIRST]


@needs_airflow_3
def test_a_cursor_may_be_set_back_by_hand_and_one_that_is_garbage_waits_for_its_repair(crm, caplog):
    stores = Stores(ASSET)
    stores.values[ASSET][KEY] = "yesterday"

    async def scenario():
        async with running(trigger_of(stores=stores)) as payloads:
            await until(lambda: "cannot be read" in caplog.text)
            assert looks(crm) == []
            stores.values[ASSET][KEY] = {"watermark": "2024-06-02 00:00:00"}
            return await first(payloads)

    assert asyncio.run(scenario())["ids"] == [SECOND]


# -------------------------------------------------------------------------------------------------------- siblings


@needs_airflow_3
def test_two_assets_share_each_look_and_keep_a_cursor_each(crm):
    stores = Stores("one", "two")

    async def scenario():
        one, two = (trigger_of(asset_name=name, stores=stores, poll_interval=3600) for name in ("one", "two"))
        change(crm)
        async with running(one) as first_payloads, running(two) as second_payloads:
            both = [await first(first_payloads), await first(second_payloads)]
            await until(lambda: all(KEY in values for values in stores.values.values()))
        assert len(looks(crm)) == 1
        one.poll_interval = two.poll_interval = 0.05
        change(crm, SECOND)
        async with running(one) as payloads:
            alone = await first(payloads)
            await until(lambda: stores.values["one"][KEY]["watermark"] == alone["watermark_to"])
        async with running(two) as payloads:
            return both, alone, await first(payloads)

    both, alone, later = asyncio.run(scenario())
    assert both[0]["watermark_to"] == both[1]["watermark_to"]
    assert both[1]["ids"] == [FIRST]
    assert (both[0]["ids"], alone["ids"], later["ids"]) == ([FIRST], [SECOND], [SECOND])


@needs_airflow_3
def test_a_sibling_whose_cursor_is_older_looks_by_itself(crm):
    stores = Stores("one", "two")
    stores.values["two"][KEY] = {"watermark": "2024-06-02T00:00:00.000Z", "seen": []}

    async def scenario():
        one, two = (trigger_of(asset_name=name, stores=stores, poll_interval=0.3) for name in ("one", "two"))
        async with running(one) as first_payloads:
            await looked(crm, more=0)
            async with running(two) as second_payloads:
                caught_up = await first(second_payloads)
                change(crm)
                return caught_up, await first(first_payloads), await first(second_payloads)

    caught_up, one, two = asyncio.run(scenario())
    assert caught_up["ids"] == [SECOND]
    assert one["ids"] == two["ids"] == [FIRST]


@needs_airflow_3
def test_another_asset_s_name_is_an_error_in_the_log(crm, caplog):
    async def scenario():
        async with running(trigger_of(asset_name="typo", stores=Stores(ASSET))):
            await until(lambda: "not the name of the asset" in caplog.text)

    asyncio.run(scenario())
    assert looks(crm) == []


# ---------------------------------------------------------------------------------------------------------- errors


@needs_airflow_3
@pytest.mark.parametrize("fault", [{"status": 502}, {"reset": "before"}, {"status": 200, "body": {"odd": 1}}])
def test_a_blip_is_counted_and_loses_nothing(crm, caplog, fault):
    async def scenario():
        async with running(trigger_of()) as payloads:
            await looked(crm)
            crm.fault(method="GET", times=2, **fault)
            change(crm)
            return await first(payloads)

    assert asyncio.run(scenario())["ids"] == [FIRST]
    assert "look failed, number 2 in a row" in caplog.text


@needs_airflow_3
def test_a_list_that_fails_half_way_is_read_again_from_its_start(crm):
    for record_id in (FIRST, SECOND):
        change(crm, record_id)
    crm.fault(method="GET", status=502, skip=1)

    async def scenario():
        async with running(trigger_of(query={"limit": 1})) as payloads:
            return await first(payloads)

    assert asyncio.run(scenario())["ids"] == [FIRST, SECOND]


@needs_airflow_3
def test_a_list_that_breaks_off_tells_nothing_and_is_read_again(crm, caplog):
    moment = datetime.now(timezone.utc).isoformat()
    page = {"result": [{"id": "of a broken list", "updated_at": moment}], "next_cursor": "given before"}
    crm.fault(method="GET", times=2, body=page)

    async def scenario():
        async with running(trigger_of()) as payloads:
            await looked(crm)
            change(crm)
            return await first(payloads)

    assert asyncio.run(scenario())["ids"] == [FIRST]
    assert "broke off" in caplog.text


@needs_airflow_3
@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_error_of_one_customer_that_a_repeat_cannot_help_waits_long_and_holds_up_nobody(crm, caplog, status):
    crm.fault(method="GET", status=status, times=None, account=ACME)

    async def scenario():
        async with running(trigger_of(integrated_account_ids=[ACME, GLOBEX])) as payloads:
            await until(lambda: len(looks(crm, GLOBEX)) > 3)
            change(crm, "70010001", account=GLOBEX)
            return await first(payloads)

    payload = asyncio.run(scenario())
    assert (payload["integrated_account_id"], payload["ids"]) == (GLOBEX, ["70010001"])
    assert len(looks(crm)) == 1
    (told,) = [record for record in caplog.records if "look failed" in record.getMessage()]
    assert told.levelname == "ERROR"
    assert "900 s" in told.getMessage()


@needs_airflow_3
def test_a_connection_that_cannot_be_read_is_told_and_tried_again(crm, caplog, connection):
    async def scenario():
        async with running(trigger_of(truto_conn_id="later")) as payloads:
            await until(lambda: "number 2 in a row" in caplog.text)
            connection(crm.url, crm.token, conn_id="later")
            change(crm)
            return await first(payloads)

    assert asyncio.run(scenario())["ids"] == [FIRST]


# ------------------------------------------------------------------------------------------------------- arguments


@needs_airflow_3
def test_its_arguments_are_json_and_make_it_again(crm):
    given = trigger_of(
        poll_interval=30.0, overlap=timedelta(minutes=5), query={"limit": 100}, integrated_account_ids=(ACME, GLOBEX)
    )
    path, arguments = given.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == given.serialize()
    assert (arguments["overlap"], arguments["integrated_account_ids"]) == (300.0, [ACME, GLOBEX])
    assert crm.token not in json.dumps(arguments)


@needs_airflow_3
@pytest.mark.parametrize(
    "wrong",
    [
        {"asset_name": ""},
        {"model": None},
        {"integrated_account_ids": []},
        {"integrated_account_ids": ACME},
        {"integrated_account_ids": ["acme"]},
        {"poll_interval": 0},
        {"poll_interval": "60"},
        {"overlap": -1},
        {"overlap": float("nan")},
        {"query": {"since": datetime(2026, 1, 1)}},
        {"query": {"updated_at": {"gt": "2026-01-01"}}},
        {"query": {"next_cursor": "x"}},
        {"query": {"truto_response_format": "raw"}},
        {"query": {"integratedAccountId": GLOBEX}},
        {"query": {"tenant_id": "globex"}},
        {"asset_name": " "},
        {"truto_conn_id": ""},
    ],
)
def test_an_argument_that_can_never_be_right_fails_the_dag_file(wrong):
    with pytest.raises((ValueError, TypeError)):
        TrutoChangesTrigger(**{**GIVEN, **wrong})


@pytest.mark.skipif(not IS_AIRFLOW_2, reason="Airflow 3 has AssetWatcher")
def test_airflow_2_is_told_that_it_has_no_asset_watchers():
    with pytest.raises(RuntimeError, match="needs Airflow 3"):
        TrutoChangesTrigger(**GIVEN)


@needs_airflow_3
@pytest.mark.slow
def test_five_hundred_of_them_never_block_the_loop_for_50_ms(crm, monkeypatch):
    async def watch(number):
        # Each asks for something else, so that none shares a look.
        async with running(trigger_of(query={"limit": 100 + number}, poll_interval=1)) as payloads:
            return await asyncio.wait_for(payloads.get(), 120)

    async def watch_all(count):
        return await asyncio.gather(*(watch(number) for number in range(count)))

    change(crm)
    asyncio.run(watch_all(1))  # what is imported late is imported
    with measured_steps(monkeypatch) as taken:
        payloads = asyncio.run(watch_all(500))
    assert [payload["ids"] for payload in payloads] == [[FIRST]] * 500
    assert max(taken) < 0.05
