"""Assets (datasets on Airflow 2) that are the records of one customer: what DAGs write, and are scheduled by.

Their URI is ``truto://<integrated account>/<model>/<resource>``; the model of the proxy API is ``proxy``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def create_asset(
    *,
    integrated_account_id: str,
    model: str = "crm",
    resource: str = "accounts",
    extra: Mapping[str, Any] | None = None,
) -> Any:
    """Return the ``Asset`` (on Airflow 2 the ``Dataset``) of one resource of one customer.

    Raises ``ValueError`` for an integrated account that is not a UUID, and for an empty model or resource.
    """
    from airflow_provider_truto._compat import make_asset

    return make_asset(build_uri(integrated_account_id, model, resource), dict(extra or {}))


def build_uri(integrated_account_id: str, model: str, resource: str) -> str:
    """Return the URI of one resource of one customer. Raises ``ValueError`` as ``create_asset`` does."""
    parts = (quote(part, safe="") for part in (integrated_account_id, model, resource))
    return sanitize_uri(urlsplit("truto://" + "/".join(parts))).geturl()


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return a URI as it is compared: the account in lower case. Airflow calls this for each ``truto://`` URI.

    Raises ``ValueError`` for one that is not of the shape above.
    """
    account = uri.netloc.lower()
    if not _UUID.fullmatch(account) or not re.fullmatch(r"/[^/]+/[^/]+", uri.path) or uri.query:
        raise ValueError(
            f"{uri.geturl()!r} is not of the form truto://<integrated account>/<model>/<resource>, where the"
            " integrated account is a UUID"
        )
    return uri._replace(netloc=account)


def convert_to_openlineage(asset: Any, lineage_context: Any) -> Any:  # noqa: ARG001
    """Return the OpenLineage dataset of an asset of this scheme; the OpenLineage provider asks for it."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    place = urlsplit(asset.uri)
    return Dataset(namespace=f"truto://{place.netloc}", name=place.path.lstrip("/"))
