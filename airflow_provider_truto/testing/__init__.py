"""What a DAG author's own tests use: the pytest fixture `truto`, see docs/testing.md.

`plugin.py` is what pytest loads, `emulated.py` what the fixture is. `worker.py` runs a task without a database, in
parts (`parts.py`) that `on_airflow_2.py` or `on_airflow_3.py` run; `xcoms.py` holds what tasks have pushed.
"""
