"""The integrated accounts and the API token of the default seed, by name, for tests and examples.

Each customer is one integrated account; its CRM is named beside it. `seed.json` holds the rest.
"""

from __future__ import annotations

TOKEN = "truto-emulator-token"  # noqa: S105 – it opens nothing but an emulator

ACME = "acae0000-0000-4000-8000-000000000001"
"""HubSpot, active."""

GLOBEX = "910be000-0000-4000-8000-000000000002"
"""Salesforce, active; this CRM rewrites what it stores and its mapping knows no `urls`."""

INITECH = "1217ec00-0000-4000-8000-000000000003"
"""Pipedrive, a sandbox: reads only, every write is a 405."""

UMBRELLA = "0bbe11a0-0000-4000-8000-000000000004"
"""Zoho CRM, `needs_reauth`: the provider answers every data call with 401."""

HOOLI = "40011000-0000-4000-8000-000000000005"
"""Close, blocked by Truto: every data call is a 503."""

WAYNE = "3a12e000-0000-4000-8000-000000000006"
"""HubSpot, active."""

STARK = "57a24000-0000-4000-8000-000000000007"
"""HubSpot, active."""
