"""Hook lineage: what a plain task has written through a hook, told to the collector of Airflow."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from airflow_provider_truto._compat import collect_output, find_current_context
from airflow_provider_truto.assets import build_uri
from airflow_provider_truto.client.request import Request

_PATH = re.compile(r"/(?:unified/(?P<model>[^/]+)|proxy)/(?P<resource>[^/]+)")


def collect_write(hook: Any, request: Request) -> None:
    """Tell Airflow's collector which asset a request has written, within a task; a read tells nothing.

    The write has happened, so that no fault of a collector fails the task: it is logged.
    """
    found = _PATH.match(request.path)
    if request.method == "GET" or found is None or request.integrated_account_id is None:
        return
    if find_current_context() is None:
        return
    try:
        parts = unquote(found["model"] or "proxy"), unquote(found["resource"])
        collect_output(hook, build_uri(request.integrated_account_id, *parts))
    except Exception:
        hook.log.warning("The lineage of %s could not be collected", request, exc_info=True)
