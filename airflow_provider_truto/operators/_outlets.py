"""The asset events of a task that has written: ids and counts, one event per customer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_truto._compat import is_asset_alias
from airflow_provider_truto.assets import build_uri, create_asset
from airflow_provider_truto.operators._lineage import count_written


def emit_events(operator: Any, context: Any, counts: Mapping[str, Mapping[str, int]], **ids: str | None) -> None:
    """Say in the events of an operator's outlets what was written; ``counts`` are those of each integrated account.

    An outlet that is the asset of a customer gets the counts into the event that Airflow emits for it. An alias gets
    an event for each customer of whom anything was written.
    """
    operator.written = counts
    events = context.get("outlet_events")
    if events is None:
        return
    model = operator.model or "proxy"
    for account, of_account in counts.items():
        if not account or not operator.outlets:
            continue
        known = {"integrated_account_id": account, "model": model, "resource": operator.resource, **ids}
        extra = {**{name: value for name, value in known.items() if value is not None}, **of_account}
        uri = build_uri(account, model, operator.resource)
        is_written = count_written(of_account) > 0
        for outlet in operator.outlets:
            if getattr(outlet, "uri", None) == uri:
                events[outlet].extra.update(extra)
            elif is_written and is_asset_alias(outlet):
                asset = create_asset(integrated_account_id=account, model=model, resource=operator.resource)
                events[outlet].add(asset, extra=extra)
