"""Checking the whole source before the first write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.read_ahead import read_chunk
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.writer import RecordWriter
from airflow_provider_truto.client.errors import TrutoSchemaError

#: Faults that a check of the whole source lists.
MAX_FAULTS = 100


async def find_faults(
    records: Iterator[Record], writer: RecordWriter, completed: CompletedRecords
) -> list[tuple[Record, TrutoSchemaError]]:
    """Check every record that is to be sent, without sending a write; return the first ``MAX_FAULTS`` faults.

    Raises what reading the source raises, and what looking up its tenants does.
    """
    faults: list[tuple[Record, TrutoSchemaError]] = []
    while True:
        chunk, error = await asyncio.to_thread(read_chunk, records)
        if error is not None:
            raise error
        for record in await writer.resolve(chunk):
            is_sent = not (record.is_unchanged or completed.is_final(record.ordinal))
            fault = await writer.find_fault(record) if is_sent else None
            if fault is not None:
                faults.append((record, fault))
                if len(faults) >= MAX_FAULTS:
                    return faults
        if not chunk:
            return faults
