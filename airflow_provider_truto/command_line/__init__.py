"""`python -m airflow_provider_truto …`, and since Airflow 3.2 `airflow truto …`: see docs/command_line.md.

`commands.py` is the table of both, `run.py` runs one of it. A command is a function that takes the parsed arguments
and returns an `Output`; it prints nothing.
"""
