"""The load of the bulk rows: updates for forty customers, and three ways to send them all with 32 in flight."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.server import UPDATE

#: Calls in flight, of each contender.
IN_FLIGHT = 32
CUSTOMERS = 40
TOKEN = "a-token-of-the-benchmark"
BARE = "aiohttp: session.patch(url, json=body), then .json()"
OURS = "TrutoBulkUpdateAccountsOperator, all checks and the ledger"
SDK = "truto-python-sdk, a connection a call as it makes them"

Send = Callable[[dict[str, Any]], Awaitable[Any]]


def customer(number: int) -> str:
    """Return an integrated account's id."""
    return f"acae0000-0000-4000-8000-{number:012x}"


def records(count: int, *, customers: int = CUSTOMERS) -> Iterator[dict[str, Any]]:
    """Return updates of different records, the customers in turn; the answer of ``server`` confirms each of them."""
    for number in range(count):
        yield {
            "id": str(23_000_000 + number),
            "integrated_account_id": customer(number % customers),
            "body": UPDATE,
        }


def written(path: Path, count: int, *, customers: int = CUSTOMERS) -> Path:
    """Write updates as a JSON Lines file."""
    with path.open("w") as file:
        file.writelines(json.dumps(record) + "\n" for record in records(count, customers=customers))
    return path


def target(record: dict[str, Any]) -> str:
    """Return the path and query of a record's update."""
    account = record["integrated_account_id"]
    return f"/unified/crm/accounts/{record['id']}?integrated_account_id={account}&truto_ignore_remote_data=true"


def connect(url: str) -> None:
    """Point Airflow's default connection there."""
    os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"] = json.dumps({"conn_type": "truto", "host": url, "password": TOKEN})


def bulk(source: Path, output: Path, **options: Any) -> dict[str, Any]:
    """Run the operator as a task does, and give its counts."""
    from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

    operator = TrutoBulkUpdateAccountsOperator(
        task_id="bulk", source=str(source), output_path=str(output), max_failures=0, concurrency=IN_FLIGHT, **options
    )
    return operator.execute({})


def ours(url: str, count: int, folder: Path) -> Callable[[], float]:
    """Records a second of the bulk operator, from a file to the end of its ledger, without pacing."""
    connect(url)
    source = written(folder / f"{count}.jsonl", count)

    def run() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as output:
            began = time.perf_counter()
            counts = bulk(source, Path(output), requests_per_second=0)
            seconds = time.perf_counter() - began
        if counts["updated"] != count or counts["requests"] != count:
            raise RuntimeError(f"not every record was updated by one request: {counts}")
        return count / seconds

    return run


def bare(url: str, count: int) -> Callable[[], float]:
    """Records a second of aiohttp alone: kept connections, records from memory."""
    import aiohttp

    async def send_all(rows: list[dict[str, Any]]) -> None:
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
        async with aiohttp.ClientSession(
            connector=connector, headers={"Authorization": f"Bearer {TOKEN}"}
        ) as session:

            async def send(row: dict[str, Any]) -> Any:
                async with session.patch(url + target(row), json=row["body"]) as response:
                    return await response.json()

            await _in_flight(rows, send)

    return lambda: _rate(send_all, count)


def sdk(url: str, count: int) -> Callable[[], float] | None:
    """Records a second of Truto's SDK; ``None`` where it is not installed."""
    try:
        from truto_python_sdk import TrutoApi
    except ImportError:
        return None
    api = TrutoApi(TOKEN, url)

    async def send(row: dict[str, Any]) -> Any:
        query = {"integrated_account_id": row["integrated_account_id"], "truto_ignore_remote_data": True}
        return await api.unified_api.update("crm", "accounts", row["id"], row["body"], query)

    return lambda: _rate(lambda rows: _in_flight(rows, send), count)


async def _in_flight(rows: list[dict[str, Any]], send: Send) -> None:
    """Send all rows; as many workers as there may be in flight take the next one each."""
    left = iter(rows)

    async def work() -> None:
        for row in left:
            if (await send(row))["name"] != "Initech":
                raise RuntimeError("the answer is a different one")

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


def _rate(send_all: Callable[[list[dict[str, Any]]], Awaitable[None]], count: int) -> float:
    rows = list(records(count))

    async def run() -> None:
        await send_all(rows)

    began = time.perf_counter()
    asyncio.run(run())
    return count / (time.perf_counter() - began)
