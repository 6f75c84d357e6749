"""Runs a sensor to its end, in the worker or through its trigger."""

from __future__ import annotations

import asyncio
import importlib
import json

import pytest

try:
    from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowSensorTimeout, TaskDeferred

__all__ = ["AirflowSensorTimeout", "both_ways", "wait"]

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
