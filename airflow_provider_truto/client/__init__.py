"""Truto over HTTP. Nothing in here knows of Airflow.

``request`` and ``response`` are values, ``retry`` brings a request to its end, ``core`` is the client, written once
as coroutines, ``api`` its public methods. ``transports`` do the I/O; ``sync`` and ``aio`` put both together.
"""
