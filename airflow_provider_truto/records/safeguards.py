"""Safeguards: optional checks before a write (preflight, tenant, custom fields, preview, unchanged fields)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.records.customer_schema import ENTITIES
from airflow_provider_truto.records.request import LIVE, RecordRequest, find_untyped_flags

#: Methods whose effect on one record can be shown beforehand.
_PREVIEWED = frozenset({"create", "update", "delete"})


@dataclass(frozen=True, kw_only=True)
class Safeguards:
    """What to make sure of before the write; each costs one request at most, see the operators for the meaning."""

    preflight: bool = False
    expected_tenant_id: str | None = None
    check_custom_fields: bool = False
    preview: bool = False
    expect: str | None = None
    skip_unchanged: bool = False

    @property
    def look_at_customer(self) -> bool:
        """Whether anything is asked about the customer, which holds for all records."""
        return self.preflight or self.expected_tenant_id is not None

    def of_record(self) -> Safeguards:
        """Return those that are about the record, without those about its customer."""
        return replace(self, preflight=False, expected_tenant_id=None)

    @property
    def reads_record(self) -> bool:
        """Whether the record has to be read first."""
        return self.preview or self.skip_unchanged or self.expect is not None


def find_safeguard_problems(request: RecordRequest, safeguards: Safeguards) -> list[Problem]:
    """Return what is asked for that means nothing, for this request or at all."""
    problems = find_untyped_flags(safeguards, "preflight", "check_custom_fields", "preview", "skip_unchanged")
    problems += [
        Problem(f"/{name}", f"is for {', '.join(sorted(_PREVIEWED))}, not for {request.method}")
        for name in ("preview", "expect")
        if getattr(safeguards, name) and request.method not in _PREVIEWED
    ]
    if safeguards.expect is not None and not (
        isinstance(safeguards.expect, str) and safeguards.expect.startswith("p1-")
    ):
        problems.append(Problem("/expect", f"expects the hash of a preview, p1-…, got {safeguards.expect!r}"))
    if safeguards.skip_unchanged and request.method != "update":
        problems.append(Problem("/skip_unchanged", f"is for update, not for {request.method}"))
    if safeguards.check_custom_fields and (request.model != "crm" or request.resource not in ENTITIES):
        problems.append(
            Problem("/check_custom_fields", f"is for crm {', '.join(ENTITIES)}: Truto lists their fields")
        )
    if request.schema == LIVE and request.model is None:
        problems.append(Problem("/schema", "'live' is for the unified API; the proxy API has no schemas"))
    return problems
