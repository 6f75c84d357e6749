"""What Airflow discovers of this package. A fault in here breaks ``import airflow``: a plain dict, light imports."""

from __future__ import annotations

from typing import Any

from airflow_provider_truto import connection_fields

_INTEGRATION = "Truto"
_ASSETS = {
    "schemes": ["truto"],
    "handler": "airflow_provider_truto.assets.sanitize_uri",
    "factory": "airflow_provider_truto.assets.create_asset",
    "to_openlineage_converter": "airflow_provider_truto.assets.convert_to_openlineage",
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-truto",
        "name": "Truto",
        "description": "The unified API in front of 23 CRMs: https://truto.one",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://truto.one/docs",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": ["airflow_provider_truto.hooks.truto"]}],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    f"airflow_provider_truto.operators.{name}"
                    for name in ("accounts", "bulk", "ledgers", "proxy", "sync_jobs", "unified")
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    f"airflow_provider_truto.sensors.{name}"
                    for name in ("integrated_accounts", "records", "sync_jobs")
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    f"airflow_provider_truto.triggers.{name}"
                    for name in ("changes", "integrated_accounts", "records", "sync_jobs", "waits")
                ],
            }
        ],
        "task-decorators": [
            {
                "name": "truto_update_account",
                "class-name": "airflow_provider_truto.decorators.accounts.truto_update_account_task",
            }
        ],
        "extra-links": [
            f"airflow_provider_truto.links.{name}"
            for name in (
                "TrutoIntegratedAccountsLink",
                "TrutoLedgerLink",
                "TrutoReferenceLink",
                "TrutoSyncJobRunLink",
                "TrutoSyncJobRunReferenceLink",
            )
        ],
        # The name of the key since Airflow 3, and before.
        **{key: [_ASSETS] for key in ("asset-uris", "dataset-uris")},
        "connection-types": [
            {
                "connection-type": connection_fields.CONNECTION_TYPE,
                "hook-class-name": connection_fields.HOOK_CLASS,
                "hook-name": connection_fields.HOOK_NAME,
                "ui-field-behaviour": connection_fields.build_field_behaviour(),
                "conn-fields": connection_fields.build_form_fields(),
            }
        ],
        "cli": ["airflow_provider_truto.command_line.airflow_commands.get_commands"],
        "config": {
            "truto": {
                "description": "Settings of the Truto provider.",
                "options": {
                    "allowed_hosts": {
                        "description": (
                            "Hosts that connections may name, as base URL or as proxy, separated by commas; empty"
                            " allows any. While it is set, connections cannot switch TLS verification off."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "api.truto.one",
                        "default": "",
                    },
                    "hide_values": {
                        "description": "Keep the values of bodies out of error messages and logs.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "app_url": {
                        "description": "Base URL of Truto's app, where the links of tasks lead.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "https://app.truto.one",
                        "default": "https://app.truto.one",
                    },
                    "account_url": {
                        "description": (
                            "Where a browser shows one integrated account: a URL with {integrated_account_id} in it;"
                            " empty for the list of all of them, whose address Truto documents."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "https://app.example.com/accounts/{integrated_account_id}",
                        "default": "",
                    },
                    "sync_job_run_url": {
                        "description": (
                            "Where a browser shows one run of a sync job: a URL with {sync_job_run_id} in it; empty"
                            " for no link."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "https://app.example.com/runs/{sync_job_run_id}",
                        "default": "",
                    },
                    "ledger_url": {
                        "description": (
                            "Where a browser shows the folder of a bulk's ledger: a URL with {bucket} and {key} in"
                            " it; empty for no link."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "https://files.example.com/{bucket}/{key}",
                        "default": "",
                    },
                },
            }
        },
    }
