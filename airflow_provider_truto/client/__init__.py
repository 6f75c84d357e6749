"""Truto over HTTP. Nothing in here knows of Airflow.

``call`` is a request as a value, ``retry`` brings one to its end, ``core`` is the client, written once as coroutines,
``api`` its public methods. ``transports`` do the I/O; ``sync`` and ``aio`` put a client and a transport together.
"""
