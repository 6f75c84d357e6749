"""Taking secrets, and where asked for the body's values, out of text that people will read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from airflow_provider_truto.client.call import Call
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import Token

#: Shorter values ("5", "IN") are no secret and would tear unrelated words apart.
_SHORTEST_VALUE = 4


def scrubbed(text: str, *, call: Call, token: Token, settings: ClientSettings) -> str:
    """Replace the token and the proxy's password by ``***``, under ``hide_values`` also what the body holds."""
    secrets = {token.reveal()}
    if settings.proxy and (password := urlsplit(settings.proxy).password):
        secrets |= {password, unquote(password)}
    text = _replaced(text, _forms(secrets), "***")
    if settings.hide_values and call.body:
        text = _replaced(text, _forms_of_body(call.body), "[hidden]")
    return text


def _replaced(text: str, forms: Iterable[str], mark: str) -> str:
    for form in forms:
        if form.lower() in text.lower():
            text = re.sub(re.escape(form), mark, text, flags=re.IGNORECASE)
    return text


def _forms(values: set[str]) -> list[str]:
    """List how values may be spelled; the longest first, lest a part of one leaves the rest of it standing."""
    forms = {form for value in values for form in (value, quote(value, safe=""), *_as_json(value))}
    return sorted(forms, key=len, reverse=True)


@lru_cache(maxsize=1)  # one answer is scrubbed text by text
def _forms_of_body(body: bytes) -> list[str]:
    try:
        return _forms(set(_values(json.loads(body))))
    except ValueError:  # a custom call's body is whatever the caller gave: all of it is one value
        return _forms(set(_values(body.decode(errors="replace"))))


def _as_json(value: str) -> tuple[str, str]:
    return json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _values(item)
    elif isinstance(value, list):
        for item in value:
            yield from _values(item)
    elif not isinstance(value, bool) and value is not None and len(str(value)) >= _SHORTEST_VALUE:
        yield str(value)
