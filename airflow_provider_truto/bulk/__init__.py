"""Many records in one task: source → records → in flight → ledger. Nothing in here knows Airflow.

``job`` is one try from its beginning to its end. ``records`` and ``sources`` read what is to be done, ``queue`` says
who goes next, ``runner`` keeps calls in flight for many customers at once, each on the way of one record, and
``ledger`` accounts for every record in files that outlive the worker.
"""
