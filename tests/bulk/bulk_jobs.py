"""Tries of a bulk without Airflow, also in a process of their own that may be killed at any time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from upath import UPath

from airflow_provider_truto.bulk.errors import TooManyFailuresError
from airflow_provider_truto.bulk.job import BulkJob
from airflow_provider_truto.bulk.ledger_files import locate_task_folder
from airflow_provider_truto.bulk.matching.plan import make_match_plan
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.bulk.sources.lists import ListSource
from airflow_provider_truto.bulk.sources.source import SourcePlan
from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.keys import TaskIdentity
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards

#: Seconds after which something hangs.
LONGEST = 60
TASK = TaskIdentity(dag_id="dag", run_id="run", task_id="bulk", map_index=-1, generation="0")
_OF_PLAN = {"concurrency", "max_runtime", "is_stopped", "skip_on", "verify", "stop_after"}
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
    return locate_task_folder(root, task.dag_id, task.run_id, task.task_id, task.map_index)


def source_plan(source, parser=None):
    """``source`` is one, or a list of rows, or the path of a file."""
    if isinstance(source, list):
        source = ListSource(source, parser)
    elif isinstance(source, (str, Path)):
        source = FileSource(UPath(source), parser=parser)
    return SourcePlan(fingerprint=source.fingerprint(), open=lambda _folder: source)


def run_job(url, token, source, output, *, task=TASK, client=None, safeguards=None, match=None, **options):
    """Run a try to its end; return the summary that it leaves, whatever has failed. ``match`` are arguments."""
    plan = Plan(
        template=TEMPLATE,
        coercion=CoercionOptions(),
        safeguards=safeguards or Safeguards(),
        match=make_match_plan(**(match or {"match_on": None})),
        **{name: options.pop(name) for name in _OF_PLAN & options.keys()},
    )
    job = BulkJob(
        folder=folder_of(output, task),
        identity=task,
        find_server=lambda: "the-truto",
        plan=plan,
        prepare_source=lambda: source_plan(source, RecordParser(needs_id=match is None)),
        new_client=lambda: new_client(url, token, **(client or {})),
        **options,
    )
    try:
        return job.execute()
    except TooManyFailuresError as error:
        return error.summary


def start(processes, truto, result, source, output, **options):
    """Run a try in a process of its own."""
    arguments = (str(result), truto.url, truto.token, source, str(output))
    process = processes.Process(target=in_process, args=arguments, kwargs=options, daemon=True)
    process.start()
    return process


def end_or_kill(process, *, after, may_kill):
    """Wait so many seconds, and kill a try that still runs and may be killed; tell whether it was."""
    process.join(after)
    is_killed = may_kill and process.is_alive()
    if is_killed:
        process.kill()
    process.join(LONGEST)
    assert process.exitcode in {0, -9}
    return is_killed


def is_done(process, result):
    """Whether a try came to its end, with no failure that may pass."""
    return process.exitcode == 0 and not json.loads(result.read_text())["transient_failures"]


def in_process(result, *arguments, **options):
    """What a process of its own does: the file with the summary tells that it came to an end."""
    Path(result).write_text(json.dumps(run_job(*arguments, **options)))
