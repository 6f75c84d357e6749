"""Runs a bulk of so many records against a client that answers by itself, and prints what it took.

python bulk_memory.py RECORDS ACCOUNTS
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import bulk_jobs
from upath import UPath

from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import ApiToken, Token

TOKENS = ApiToken(Token("t"), reread=lambda: Token("t"))


class AnsweringClient(AsyncClient):
    """A client whose Truto takes every write."""

    def __init__(self):
        super().__init__(ClientSettings(requests_per_second=0), TOKENS)
        self._transport.send = self._answer

    async def _answer(self, call, _token):
        self._transport.requests += 1
        await asyncio.sleep(0)
        body = json.dumps({"id": call.path.rpartition("/")[2], **json.loads(call.body)}).encode()
        return Response(status=200, headers={"content-type": "application/json"}, body=body)


def write_source(path, records, accounts):
    with path.open("w") as file:
        for number in range(records):
            account = f"acc00000-0000-4000-8000-{number * accounts // records:012d}"
            body = {"name": f"Company {number}", "description": "x" * 200, "number_of_employees": 7}
            file.write(json.dumps({"id": str(number), "body": body, "integrated_account_id": account}) + "\n")


def main():
    records, accounts = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "source.jsonl")
        write_source(path, records, accounts)
        bulk_jobs.new_client = lambda *_, **__: AnsweringClient()
        began, cpu = time.monotonic(), time.process_time()
        summary = bulk_jobs.run_job("", "", FileSource(UPath(path)), folder)
        figures = {
            "updated": summary["updated"],
            "seconds": time.monotonic() - began,
            "cpu": time.process_time() - cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
