"""Runs a sensor to its end, in the worker or through its trigger, while something happens at the emulator."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
from contextlib import contextmanager

import pytest

try:
    from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowSensorTimeout, TaskDeferred

__all__ = ["AirflowSensorTimeout", "both_ways", "meanwhile", "wait"]

#: Waiting in the worker, and in the triggerer.
both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "in the triggerer"])


def wait(sensor, **context):
    """Return what a sensor returns; where it defers, its trigger goes through JSON and runs in a loop of its own."""
    try:
        return sensor.execute(context)
    except TaskDeferred as error:
        deferred = error
    while True:
        kwargs = {**(deferred.kwargs or {}), "event": fire(deferred.trigger)}
        try:
            return sensor.resume_execution(deferred.method_name, kwargs, context)
        except TaskDeferred as error:
            deferred = error


def fire(trigger):
    """Return the payload of a trigger's only event."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == trigger.serialize()

    async def collect():
        return [event.payload async for event in again.run()]

    (payload,) = asyncio.run(collect())
    return json.loads(json.dumps(payload))


@contextmanager
def meanwhile(emulator, do, *, after):
    """Have something done once so many calls have arrived, which must happen within the block."""
    is_over, is_done = threading.Event(), threading.Event()

    def watch():
        while not is_over.wait(0.01):
            if len(emulator.requests) >= after:
                do()
                is_done.set()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    assert is_done.is_set(), "the sensor did not wait for it"
