"""Taking secrets, and where asked for the body's values, out of text that people will read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from airflow_provider_truto.client.call import Call
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import Token

#: Shorter values ("5", "IN") are no secret and would tear unrelated words apart.
_SHORTEST_VALUE = 4


def scrubbed(text: str, *, call: Call, token: Token, settings: ClientSettings) -> str:
    """Replace the token and the proxy's password by ``***``, under ``hide_values`` also what the body holds."""
    secrets = [token.reveal()]
    if settings.proxy and (password := urlsplit(settings.proxy).password):
        secrets += [password, unquote(password)]
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
            text = text.replace(form, "***")
    if settings.hide_values and call.body:
        # The longest first, lest a value that is part of another leaves the rest of it standing.
        for value in sorted(set(_strings(json.loads(call.body))), key=len, reverse=True):
            text = text.replace(value, "[hidden]")
    return text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif not isinstance(value, bool) and value is not None and len(str(value)) >= _SHORTEST_VALUE:
        yield str(value)
