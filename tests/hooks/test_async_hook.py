"""``TrutoAsyncHook`` without Airflow's processes: concurrency, closing, rotation, and that it lacks nothing."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import AsyncIterator

import pytest

from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.api import TrutoApi
from airflow_provider_truto.client.errors import TrutoAuthenticationError, TrutoNotFoundError, TrutoSchemaError
from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.hooks import truto
from airflow_provider_truto.hooks.truto import TrutoAsyncHook, TrutoHook

RECORD = "23423523"


@pytest.fixture
def connect(emulator, connection):
    """A function that sets the connection to the emulator, and may change it."""

    def connect(token=None, **extra):
        given = {"requests_per_second": 0, "integrated_account_id": ACME, "max_attempts": 1, **extra}
        connection(emulator.url, token or emulator.token, **given)

    connect()
    return connect


@pytest.fixture
def reads(monkeypatch):
    """The names of the connections that were read, one entry a time; reading takes a turn of the loop."""
    names = []
    read = truto.get_async_connection

    async def counted(conn_id):
        names.append(conn_id)
        await asyncio.sleep(0.01)
        return await read(conn_id)

    monkeypatch.setattr(truto, "get_async_connection", counted)
    return names


@pytest.fixture
def closings(monkeypatch):
    """The clients that were closed."""
    clients = []
    close = AsyncClient.close

    async def noted(self):
        clients.append(self)
        await close(self)

    monkeypatch.setattr(AsyncClient, "close", noted)
    return clients


@pytest.fixture
def logged(caplog, capsys):
    """A function that gives what was logged: Airflow 3 prints through structlog, Airflow 2 logs and prints."""
    caplog.set_level(logging.INFO)

    def logged():
        printed = "".join(capsys.readouterr())
        return printed or caplog.text

    return logged


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


# ------------------------------------------------------------------------------------------------ it lacks nothing

#: Arguments for each method of the API; what is listed is an iterator.
CALLS = {
    "unified": ("crm", "accounts"),
    "proxy": ("companies",),
    "custom": ("GET", "v3/ping"),
    "batch": ([{"resource": "crm/accounts", "method": "list"}],),
    "integrated_accounts": (),
    "integrated_account": (),
    "integrated_account_id_of": ("acme",),
    "refresh_credentials": (),
    "capabilities": (),
    "tools": (),
    "method_schema": ("crm", "accounts", "update"),
    "model_docs": ("crm", "hubspot"),
    "logs": ("rapid_bridge",),
    "sync_job_runs": (),
    "sync_job_run": ("run-1",),
    "stop_sync_job_run": ("run-1",),
    "ping": (),
    "update_account": (RECORD, {"name": "x"}),
    "stream_account": (RECORD, {"name": "x"}),
    "preview_account": (RECORD, {"name": "x"}),
}
KEYWORDS = {"start_sync_job_run": {"error_handling": "ignore"}}
CALLS["start_sync_job_run"] = ("job-1",)
LISTED = {"integrated_accounts", "logs", "sync_job_runs"}
OF_A_RESOURCE = {
    "list": (),
    "get": (RECORD,),
    "create": ({"name": "x"},),
    "update": (RECORD, {"name": "x"}),
    "delete": (RECORD,),
    "call": ("assign-owner", {"id": RECORD, "owner": {"id": "u"}}),
}


def public(cls):
    return {name for name, member in inspect.getmembers(cls, callable) if not name.startswith("_")}


def test_every_method_of_the_api_is_on_both_hooks_with_the_same_arguments():
    own = public(TrutoApi) - {"do", "find_keys", "listing"}
    assert own | {"update_account", "stream_account", "preview_account"} == set(CALLS)
    for name in CALLS:
        methods = [getattr(cls, name) for cls in (TrutoHook, TrutoAsyncHook)]
        assert inspect.signature(methods[0]) == inspect.signature(methods[1])


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"unified", "proxy"}))
def test_every_method_is_a_coroutine_or_an_async_iterator_and_reads_nothing_before_it_is_awaited(
    connect, emulator, reads, name
):
    async def case():
        async with TrutoAsyncHook() as hook:
            result = getattr(hook, name)(*CALLS[name], **KEYWORDS.get(name, {}))
            assert reads == []
            if name in LISTED:
                assert isinstance(result, AsyncIterator)
                assert hasattr(type(result), "__aiter__")
            else:
                assert inspect.isawaitable(result)
                result.close()

    run(case())
    assert emulator.requests == []


@pytest.mark.parametrize("kind", ["unified", "proxy"])
@pytest.mark.parametrize("name", OF_A_RESOURCE)
def test_every_method_of_a_resource_is_a_coroutine_or_an_async_iterator(connect, emulator, kind, name):
    async def case():
        async with TrutoAsyncHook() as hook:
            result = getattr(getattr(hook, kind)(*CALLS[kind]), name)(*OF_A_RESOURCE[name])
            if name == "list":
                assert isinstance(result, AsyncIterator)
            else:
                assert inspect.isawaitable(result)
                result.close()

    run(case())
    assert emulator.requests == []


def test_an_argument_that_can_never_be_right_is_told_at_the_call(connect):
    hook = TrutoAsyncHook()
    with pytest.raises(ValueError):
        hook.unified("crm", "accounts").get(None)
    with pytest.raises(ValueError, match="stream_account"):
        hook.update_account(RECORD, {"name": "x"}, response_format="stream")


def test_it_reads_writes_previews_and_streams(connect, emulator):
    async def case():
        async with TrutoAsyncHook(integrated_account_id=GLOBEX) as hook:
            accounts = hook.unified("crm", "accounts")
            ids = [record["id"] async for record in accounts.list(limit=2)]
            preview = await hook.preview_account("70010001", {"number_of_employees": 7})
            updated = await hook.update_account("70010001", {"number_of_employees": 7}, expect=preview["hash"])
            again = await hook.update_account("70010001", {"number_of_employees": 7}, skip_unchanged=True)
            chunks = [chunk async for chunk in await hook.stream_account("70010002", {"name": "Streamed"})]
            listing = hook.integrated_accounts(status="needs_reauth")
            tenants = [account["tenant_id"] async for account in listing]
            return ids, preview, updated, again, b"".join(chunks), tenants, listing.count

    ids, preview, updated, again, streamed, tenants, count = run(case())
    assert ids == ["70010001", "70010002", "70010003"]
    assert preview["changes"] == [{"pointer": "/number_of_employees", "before": 890, "after": 7}]
    assert updated["number_of_employees"] == again["number_of_employees"] == 7
    assert json.loads(streamed)["properties"]["name"] == "Streamed"
    assert (tenants, count) == (["umbrella"], 1)
    assert [made["method"] for made in emulator.executions if made["method"] != "GET"] == ["PATCH", "PATCH"]


# ------------------------------------------------------------------------------------------------------ concurrency


def test_fifty_coroutines_read_the_connection_once(connect, emulator, reads):
    async def case():
        async with TrutoAsyncHook() as hook:
            accounts = hook.unified("crm", "accounts")
            return await asyncio.gather(*(accounts.get(RECORD) for _ in range(50)))

    assert [record["id"] for record in run(case())] == [RECORD] * 50
    assert reads == ["truto_default"]
    assert len(emulator.requests) == 50


def test_fifty_coroutines_mint_one_token(connect, emulator):
    connect(data_auth="account")

    async def case():
        async with TrutoAsyncHook() as hook:
            accounts = hook.unified("crm", "accounts")
            await asyncio.gather(*(accounts.get(RECORD) for _ in range(50)))

    run(case())
    assert len(emulator.mints) == 1
    assert {request["token"] for request in emulator.requests} == {"api", f"account:{ACME}"}


def test_lists_and_calls_go_on_side_by_side(connect, emulator):
    async def case():
        async with TrutoAsyncHook() as hook:
            accounts = hook.unified("crm", "accounts")

            async def listed():
                return [record["id"] async for record in accounts.list(limit=1)]

            return await asyncio.gather(*(listed() for _ in range(5)), *(accounts.get(RECORD) for _ in range(5)))

    results = run(case())
    assert results[:5] == [["23423523", "23423524", "23423525"]] * 5


def test_a_coroutine_that_is_cancelled_while_the_connection_is_read_stops_no_other(connect, reads):
    async def case():
        async with TrutoAsyncHook() as hook:
            accounts = hook.unified("crm", "accounts")
            first = asyncio.ensure_future(accounts.get(RECORD))
            second = asyncio.ensure_future(accounts.get(RECORD))
            await asyncio.sleep(0)
            first.cancel()
            results = await asyncio.gather(first, second, return_exceptions=True)
            return [type(result) for result in results]

    assert run(case()) == [asyncio.CancelledError, dict]
    assert reads == ["truto_default"]


# ----------------------------------------------------------------------------------------------------------- closing


def test_leaving_the_hook_closes_its_client(connect, closings):
    async def case():
        async with TrutoAsyncHook() as hook:
            await hook.ping()
            assert closings == []

    run(case())
    assert len(closings) == 1


def test_a_hook_that_is_closed_twice_or_was_never_used_closes_nothing_more(connect, closings, reads):
    async def case():
        hook = TrutoAsyncHook()
        await hook.close()
        assert reads == []
        await hook.ping()
        await hook.close()
        await hook.close()

    run(case())
    assert len(closings) == 1


def test_a_hook_that_was_closed_opens_again(connect, closings, reads):
    async def case():
        hook = TrutoAsyncHook()
        for _ in range(2):
            await hook.ping()
            await hook.close()

    run(case())
    assert reads == ["truto_default"] * 2
    assert len(set(map(id, closings))) == 2


def test_a_hook_is_closed_also_while_its_connection_is_being_read(connect, closings, reads):
    async def case():
        hook = TrutoAsyncHook()
        call = asyncio.ensure_future(hook.ping())
        await asyncio.sleep(0)
        await hook.close()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    run(case())
    assert len(closings) == 1


@pytest.mark.filterwarnings("error")
def test_nothing_stays_open(connect, logged):
    async def case():
        async with TrutoAsyncHook() as hook:
            accounts = hook.unified("crm", "accounts")
            await accounts.get(RECORD)
            async for _ in accounts.list(limit=1):
                break
            with pytest.raises(TrutoNotFoundError):
                await accounts.get("no-such")

    run(case())
    assert "Unclosed" not in logged()


# ------------------------------------------------------------------------------------------------- bad connections


def test_a_bad_connection_lists_all_of_its_problems(connect, connection, emulator):
    connection("ftp://x", "", max_attempts=0, timeout="soon", data_auth="both", allowed_integrated_accounts="acme")

    async def case():
        async with TrutoAsyncHook() as hook:
            await hook.ping()

    with pytest.raises(TrutoSchemaError) as caught:
        run(case())
    assert sorted(problem.pointer for problem in caught.value.problems) == [
        "/extra/allowed_integrated_accounts",
        "/extra/data_auth",
        "/extra/max_attempts",
        "/extra/timeout",
        "/host",
        "/password",
    ]


def test_arguments_win_over_the_connection_and_are_checked_like_it(connect, emulator):
    async def case(**given):
        async with TrutoAsyncHook(**given) as hook:
            return await hook.unified("crm", "accounts").get("70010001")

    assert run(case(integrated_account_id=GLOBEX))["name"] == "Fabrikam Robotics"
    with pytest.raises(TrutoSchemaError, match="/argument/timeout"):
        run(case(timeout=0))


@pytest.mark.parametrize("bad", ["unusable", "absent"])
def test_a_connection_that_is_corrected_works_at_the_next_call(connect, monkeypatch, emulator, bad):
    if bad == "unusable":
        connect(timeout="soon")
    else:
        monkeypatch.delenv("AIRFLOW_CONN_TRUTO_DEFAULT")

    async def case():
        async with TrutoAsyncHook() as hook:
            calls = [hook.unified("crm", "accounts").get(RECORD) for _ in range(3)]
            failures = await asyncio.gather(*calls, return_exceptions=True)
            connect()
            return failures, await hook.unified("crm", "accounts").get(RECORD)

    failures, record = run(case())
    assert all(isinstance(failure, Exception) for failure in failures)
    assert {type(failure).__name__ for failure in failures} == (
        {"TrutoSchemaError"} if bad == "unusable" else {"AirflowNotFoundException"}
    )
    assert record["id"] == RECORD


@pytest.mark.parametrize("bad", ["unusable", "absent"])
def test_a_hook_whose_connection_could_not_be_read_can_be_closed(connect, monkeypatch, bad):
    if bad == "unusable":
        connect(timeout="soon")
    else:
        monkeypatch.delenv("AIRFLOW_CONN_TRUTO_DEFAULT")

    async def case():
        hook = TrutoAsyncHook()
        call = asyncio.ensure_future(hook.ping())
        await asyncio.sleep(0)
        call.cancel()  # so that nobody sees the failure
        await asyncio.gather(call, return_exceptions=True)
        await hook.close()
        await hook.close()

    run(case())


def test_an_unknown_extra_is_warned_of_once(connect, logged):
    connect(time_out=5)

    async def case():
        async with TrutoAsyncHook() as hook:
            await asyncio.gather(*(hook.ping() for _ in range(5)))

    run(case())
    assert logged().count("did you mean 'timeout'") == 1


# ---------------------------------------------------------------------------------------------------------- rotation


def test_a_rotated_token_is_read_again_and_the_call_goes_on(connect, emulator, reads):
    async def case():
        async with TrutoAsyncHook() as hook:
            accounts = hook.unified("crm", "accounts")
            await accounts.get(RECORD)
            emulator.state.add_token("the-new-token")
            emulator.state.revoke_token(emulator.token)
            connect("the-new-token")
            records = await asyncio.gather(*(accounts.get(RECORD) for _ in range(10)))
            await accounts.get(RECORD)
            return records

    assert len(run(case())) == 10
    assert 2 <= len(reads) <= 11
    assert emulator.requests[-1]["headers"]["authorization"] == "Bearer valid"
    refused = [r for r in emulator.requests if r["headers"]["authorization"] != "Bearer valid"]
    assert len(refused) <= 10  # each call that was under way once, none of those after that


def test_a_token_that_stays_wrong_is_read_again_once_a_call_and_then_told(connect, emulator, reads, logged):
    connect("wrong-token-4711")

    async def case():
        async with TrutoAsyncHook() as hook:
            await hook.unified("crm", "accounts").get(RECORD)

    with pytest.raises(TrutoAuthenticationError) as caught:
        run(case())
    assert reads == ["truto_default"] * 2
    log = logged()
    assert "reading connection truto_default again" in log
    assert "wrong-token-4711" not in log + str(caught.value)


def test_each_call_is_one_line_of_the_log_without_token_or_values(connect, emulator, logged):
    async def case():
        async with TrutoAsyncHook() as hook:
            await hook.update_account(RECORD, {"name": "a planted value"})

    run(case())
    log = logged()
    assert log.count(f"PATCH /unified/crm/accounts/{RECORD} integrated_account={ACME} status=200 attempts=1") == 1
    assert emulator.token not in log
    assert "a planted value" not in log
