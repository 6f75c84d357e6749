"""``TrutoWaitTrigger`` waits for a moment, and neither asks nor sends."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from airflow_provider_truto.triggers import waits
from airflow_provider_truto.triggers.waits import TrutoWaitTrigger


async def events(trigger):
    return [event.payload async for event in trigger.run()]


@pytest.mark.parametrize("seconds", [-3600, 0, 0.3])
def test_it_hands_its_event_to_the_task_once_the_moment_has_come(seconds, monkeypatch):
    monkeypatch.setattr(waits, "_LONGEST_SLEEP", 0.1)
    until = time.time() + seconds
    assert asyncio.run(events(TrutoWaitTrigger(until=until, event={"count": 1}))) == [{"count": 1}]
    assert time.time() >= until


def test_another_triggerer_makes_the_same_of_what_is_stored():
    path, arguments = TrutoWaitTrigger(until=1e9, event={"count": 1}).serialize()
    assert path == f"{TrutoWaitTrigger.__module__}.TrutoWaitTrigger"
    assert TrutoWaitTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)
