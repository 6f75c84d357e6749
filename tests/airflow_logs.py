"""The log of Airflow 3.0's ``dag.test()``, for the processes of the tests that call it."""

from __future__ import annotations

import logging


def log_like_a_worker():
    """Have Airflow 3.0 log as its workers do; else it prints its requests, with their secrets, and all variables."""
    import structlog

    if not structlog.is_configured():
        *processors, _ = structlog.get_config()["processors"]
        renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
        structlog.configure(
            processors=[*processors, renderer],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        )
