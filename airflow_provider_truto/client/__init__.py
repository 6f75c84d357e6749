"""Truto over HTTP. Nothing in here knows of Airflow.

``call`` builds a request as a value, ``exchange`` brings it to its end without doing any I/O,
``sync`` does the I/O, ``errors`` is everything that can come out of it besides an answer.
"""
