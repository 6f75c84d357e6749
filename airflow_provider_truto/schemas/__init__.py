"""JSON Schemas (draft 2020-12) as data files, and the validator that turns mismatches into sentences."""

from __future__ import annotations

from airflow_provider_truto.schemas.form import body_from_params, params

__all__ = ["body_from_params", "params"]
