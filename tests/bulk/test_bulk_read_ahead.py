"""How far a source is read ahead of what is sent."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from airflow_provider_truto.bulk import read_ahead
from airflow_provider_truto.bulk.record import Record


@pytest.fixture
def read(monkeypatch):
    """Run ``steps(reader, waiting, settle)`` beside a reader of a source without an end."""
    monkeypatch.setattr(read_ahead, "_CHUNK", 10)
    monkeypatch.setattr(read_ahead, "READ_AHEAD", 100)
    monkeypatch.setattr(read_ahead, "MAX_READ_AHEAD", 200)

    def run(steps, *, is_paced=False):
        async def main():
            waiting = []

            async def resolve(records):
                return records

            reader = read_ahead.ReadAhead(
                resolve=resolve,
                put=waiting.append,
                waiting=waiting.__len__,
                on_chunk=lambda: None,
                is_paced=is_paced,
            )

            async def settle():
                count = -1
                while count != len(waiting):
                    count = len(waiting)
                    await asyncio.sleep(0.05)
                return count

            task = asyncio.create_task(reader.read(Record(ordinal=number) for number in itertools.count()))
            await steps(reader, waiting, settle)
            task.cancel()

        asyncio.run(main())

    return run


def test_no_more_is_read_than_is_needed(read):
    async def steps(reader, waiting, settle):
        assert await settle() == 100
        reader.on_taken()  # nothing was
        assert await settle() == 100
        del waiting[:5]
        reader.on_taken()
        assert await settle() == 105

    read(steps)


def test_a_slot_that_finds_nothing_has_more_read_up_to_a_limit(read):
    async def steps(reader, waiting, settle):
        await settle()
        reader.on_starved()
        assert await settle() == 110
        for _ in range(20):
            reader.on_starved()
            await settle()
        assert len(waiting) == 200

    read(steps)


def test_paced_calls_have_all_customers_known_at_once(read):
    async def steps(reader, waiting, settle):
        assert await settle() == 200

    read(steps, is_paced=True)
