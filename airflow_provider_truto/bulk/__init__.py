"""Many records in one task: source → records → in flight → ledger. Nothing in here knows Airflow.

``job`` is one whole try of the task, ``dry_run`` what it may do before its first write. ``sources`` and ``readers``
read records, ``queue`` chooses the next one, ``runner`` keeps calls for many customers in flight at once (``slots``),
``writer`` sends a single record through ``records.pipeline``, and ``bookkeeping`` and ``ledger`` write what became of
each record to files that outlive the worker.
"""
