"""One try of a bulk, as the operator makes it, in a process that imports no Airflow and may be killed at any time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from upath import UPath

from airflow_provider_truto.bulk.engine import Bulk, Plan
from airflow_provider_truto.bulk.ledger import Ledger, generation_for, task_folder
from airflow_provider_truto.bulk.snapshot import SnapshotSource
from airflow_provider_truto.bulk.sources import FileSource, ListSource
from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.records.keys import TaskIdentity
from airflow_provider_truto.records.pipeline import CoercionOptions, Safeguards
from airflow_provider_truto.records.request import RecordRequest

TASK = TaskIdentity(dag_id="dag", run_id="run", task_id="bulk", map_index=-1, generation="0")
TEMPLATE = RecordRequest(model="crm", resource="accounts", method="update", id_name="id", needs_id=True)


def new_client(url, token, *, hurry=100.0, reread=None, connections=32, **settings):
    """A client that waits a hundredth of the time it should."""
    settings = {"requests_per_second": 0, **settings}

    async def current():
        return Token(token)

    return AsyncClient(
        ClientSettings(base_url=url, **settings),
        ApiToken(Token(token), reread=reread or current),
        sleep=lambda seconds: asyncio.sleep(seconds / hurry),
        connections=connections,
    )


def folder_of(output, task=TASK):
    root = UPath(output) if isinstance(output, (str, Path)) else output
    return task_folder(root, task.dag_id, task.run_id, task.task_id, task.map_index)


def open_ledger(output, source, *, try_number=1, task=TASK, **ledger):
    """The ledger of a try, what is past, and the task with the ledger's generation."""
    folder = folder_of(output, task)
    generation = generation_for(folder, task.generation)
    opened = Ledger(folder / str(generation), try_number=try_number, **ledger)
    kept = source.keep() if isinstance(source, SnapshotSource) else None
    keys = (opened.begun() or {}).get("keys", f"{task.generation}/{generation}")
    header = {"fingerprint": source.fingerprint(), "task_generation": task.generation, "keys": keys}
    past = opened.open({**header, "snapshot": kept})
    return opened, past, replace(task, generation=keys)


async def one_try(
    url,
    token,
    source,
    output,
    *,
    try_number=1,
    task=TASK,
    client=None,
    safeguards=None,
    ledger=None,
    max_failures=None,
    report=lambda _progress: None,
    **plan,
):
    """Run a try to its end; gives the summary that it leaves."""
    opened, past, identity = open_ledger(output, source, try_number=try_number, task=task, **(ledger or {}))
    whole = Plan(
        template=TEMPLATE,
        coercion=CoercionOptions(),
        safeguards=safeguards or Safeguards(),
        identity=identity,
        cleared_identity=replace(identity, generation=f"{task.generation}/{identity.generation}"),
        **plan,
    )
    async with new_client(url, token, **(client or {})) as opened_client:
        bulk = Bulk(opened_client, opened, past, whole, report=report, total=source.count())
        is_over = False
        try:
            await bulk.run(source.records())
            is_over = True
        finally:
            progress = bulk.progress
            finished = is_over and (max_failures is None or progress.failures <= max_failures)
            ends = {"complete": is_over, "finished": finished}
            summary = {**progress.as_dict(), **ends, "task_generation": task.generation}
            accounts = {name: dict(counts) for name, counts in progress.of_accounts.items()}
            whole_summary = opened.close({**summary, "problems": progress.problems.as_list(), "accounts": accounts})
    return whole_summary


def run_try(url, token, source, output, **options):
    """The same from outside of an event loop; ``source`` is a list or the path of a file."""
    read = ListSource(source) if isinstance(source, list) else FileSource(UPath(source))
    return asyncio.run(one_try(url, token, read, output, **options))


def in_process(result, *arguments, **options):
    """What a process of its own does: the file with the summary tells that it came to an end."""
    summary = run_try(*arguments, **options)
    Path(result).write_text(json.dumps(summary))
