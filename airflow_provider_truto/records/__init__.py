"""The way of one record, a pure function each, in the module that is named for it.

    DAG author's value → render → coerce → validate → build → (client) → parse → verify → xcom

``pipeline`` goes this way; ``diff`` says what a write would change, ``keys`` makes its idempotency key.
Nothing in here does I/O or knows Airflow.
"""
