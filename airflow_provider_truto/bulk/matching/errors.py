"""Why a row has not found its record."""

from __future__ import annotations

from airflow_provider_truto.client.errors import TrutoError


class TrutoNoMatchError(TrutoError):
    """No record of the customer's CRM has what the row was looked for by; nothing was sent."""


class TrutoAmbiguousMatchError(TrutoError):
    """Several records of the customer's CRM have what the row was looked for by; nothing was sent."""


class TrutoUnknownMatchError(TrutoError):
    """What the CRM has shown is not all of it, so that nothing can be told from what is missing; nothing was sent."""
