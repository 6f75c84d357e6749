"""The way of one record, a pure function each, in the module that is named for it.

    DAG author's value → rendered → typed → checked → called → (client) → answered → verified → xcom

``keys`` makes the idempotency key that a write is called with. Nothing in here does I/O or knows Airflow.
"""
