"""The fields of a Truto connection: one table for the form, for the provider info and for reading extras.

Imports nothing: Airflow reads the provider info at every start.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

CONNECTION_TYPE = "truto"
HOOK_NAME = "Truto"
DEFAULT_CONN_ID = "truto_default"
HOOK_CLASS = "airflow_provider_truto.hooks.truto.TrutoHook"

#: Fields of Airflow's own form that mean nothing here; `schema` is honoured, but a base URL says it better. `extra`
#: cannot be hidden: Airflow 2.11's Test button does nothing without it, and Airflow 3 shows it all the same.
HIDDEN_FIELDS = ("login", "schema")
RELABELING = {"password": "API token", "host": "Base URL"}
PLACEHOLDERS = {
    "password": "created in Truto's dashboard, under API tokens",
    "host": "https://api.truto.one",
    "port": "443 (fill it in: Airflow 3.3's Test button needs it)",
}


class ExtraField(NamedTuple):
    """One extra: its name, its label and description in the form, its type, default, minimum and choices.

    The first of the choices is the default. An ``account`` is a UUID. A ``list`` holds such UUIDs: text with commas
    in the form, maybe an array in JSON.
    ``guard_words`` are for an extra that restricts calls (a guard). An unknown extra with one of these words in its
    name, or with a name close to the guard's, is an error, since a misspelled guard would restrict nothing.
    """

    name: str
    label: str
    description: str
    type: Literal["string", "account", "integer", "number", "boolean", "list"]
    default: Any = None
    minimum: int | None = None
    choices: tuple[str, ...] = ()
    guard_words: frozenset[str] = frozenset()


EXTRA_FIELDS = (
    ExtraField(
        "integrated_account_id",
        "Default integrated account",
        "UUID of the integrated account (one customer's connected CRM) that tasks use when they name none. Copy it"
        " from Truto's dashboard, Integrated accounts. Leave it empty where every task names its customer.",
        "account",
        guard_words=frozenset({"integrated"}),
    ),
    ExtraField(
        "data_auth",
        "Data calls under",
        "api: every call goes out under the API token. account: what reads or writes a customer's data goes out"
        " under a 15-minute token that is minted for that account alone, so that no call can reach another"
        " customer's CRM. Default: api.",
        "string",
        choices=("api", "account"),
        guard_words=frozenset({"auth", "authentication"}),
    ),
    ExtraField(
        "allowed_integrated_accounts",
        "Allowed integrated accounts",
        "UUIDs, separated by commas. Calls for any other integrated account are refused before they are sent, and"
        " lists show none of any other. Leave it empty to allow all that the token sees.",
        "list",
        guard_words=frozenset({"allow", "allowed", "allowlist", "whitelist", "integrated", "accounts"}),
    ),
    ExtraField(
        "timeout",
        "Timeout in seconds",
        "How long to wait for an answer once the call is sent. Truto calls the CRM while you wait, so some take"
        " long. Default: 60.",
        "number",
        minimum=1,
    ),
    ExtraField(
        "deadline",
        "Deadline in seconds",
        "How long one attempt may take in all, from connecting to the end of the answer; of a streamed answer, to its"
        " first byte. The timeout is for one silence. Default: 300.",
        "number",
        minimum=1,
    ),
    ExtraField(
        "max_attempts",
        "Attempts per call",
        "How often one call is tried when Truto or the CRM is busy or unreachable, the first attempt included."
        " A write is executed once however often it is tried. Default: 5.",
        "integer",
        minimum=1,
    ),
    ExtraField(
        "max_wait",
        "Longest wait in seconds",
        "What the waits between the attempts of one call may add up to. A longer wait fails the task, whose own"
        " retries then decide. Default: 300.",
        "number",
        minimum=0,
    ),
    ExtraField(
        "requests_per_second",
        "Requests per second",
        "What one worker process sends at most. Workers know nothing of each other: give each its share. Leave it"
        " empty for Truto's own limits, 5 per account and 50 per token; 0 switches pacing off.",
        "number",
        minimum=0,
    ),
    ExtraField(
        "verify_tls",
        "Verify TLS certificates",
        "Switch this off only for a test server of your own; not possible where [truto] allowed_hosts is set."
        " Default: on.",
        "boolean",
        default=True,
        guard_words=frozenset({"verify", "verification", "tls", "ssl", "insecure"}),
    ),
    ExtraField(
        "ca_bundle",
        "CA bundle",
        "Path, on the workers, of a file of certificates to trust, as for a company proxy that inspects TLS."
        " Leave it empty for the usual ones.",
        "string",
    ),
    ExtraField(
        "proxy",
        "Proxy",
        "URL of a proxy for calls to Truto, http://proxy:3128. Where [truto] allowed_hosts is set, its host must be"
        " among them. Leave it empty to use the workers' HTTPS_PROXY.",
        "string",
    ),
    ExtraField(
        "allow_http",
        "Allow plain http",
        "Lets the API token go unencrypted to a base URL that begins with http://, such as Truto's emulator in"
        " another container. Never needed for Truto itself or for localhost; not possible where [truto] allowed_hosts"
        " is set. Default: off.",
        "boolean",
        default=False,
        guard_words=frozenset({"allow", "allowed"}),
    ),
)


def build_form_fields() -> dict[str, dict[str, Any]]:
    """Return the extras as Airflow's provider info describes them (``conn-fields``)."""
    return {field.name: _build_form_field(field) for field in EXTRA_FIELDS}


def build_field_behaviour() -> dict[str, Any]:
    """Return how the form shows Airflow's own fields (``ui-field-behaviour``)."""
    return {
        "hidden-fields": list(HIDDEN_FIELDS),
        "relabeling": dict(RELABELING),
        "placeholders": dict(PLACEHOLDERS),
    }


def _build_form_field(field: ExtraField) -> dict[str, Any]:
    # Without "null" among the types, the form would make the field required.
    schema: dict[str, Any] = {"type": ["string" if field.type in {"account", "list"} else field.type, "null"]}
    if field.choices:
        schema["enum"] = [None, *field.choices]
        schema["values_display"] = {"null": f"{field.choices[0]} (default)"}  # else the form shows the word null
    if field.default is not None:
        schema["default"] = field.default
    if field.minimum is not None:
        schema["minimum"] = field.minimum
    return {"label": field.label, "description": field.description, "schema": schema}
