"""Who may call: API tokens, and the short-lived tokens of single integrated accounts that are minted with them."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import Any

from airflow_provider_truto.emulator.http import timestamps
from airflow_provider_truto.emulator.http.request import Token

DEFAULT_LIFE = 900.0
"""Seconds for which the token of an integrated account is good."""


class Tokens:
    """The tokens that are accepted, by their text, and `mints`: which were minted since the start.

    A mint is `{"integrated_account_id", "time"}` with monotonic seconds, and without the token.
    """

    def __init__(self, seeded: Iterable[Mapping[str, Any]]) -> None:
        self._numbers = itertools.count()
        self._tokens: dict[str, Token] = {}
        self.mints: list[dict[str, Any]] = []
        for token in seeded:
            self.add(**token)

    def add(self, token: str, expires_at: str | None = None) -> None:
        """Accept this API token from now on; `expires_at` is an ISO 8601 time. Raises ValueError."""
        expiry = None if expires_at is None else timestamps.read(expires_at)
        self._tokens[token] = Token(number=next(self._numbers), expires_at=expiry)

    def mint(self, account_id: str, *, minted_with: Token, life: float) -> str:
        """Return a new token of one integrated account, good for `life` seconds."""
        text = f"ia-{secrets.token_urlsafe(24)}"
        expiry = datetime.now(timezone.utc) + timedelta(seconds=life)
        self._tokens[text] = Token(number=minted_with.number, expires_at=expiry, account_id=account_id)
        self.mints.append({"integrated_account_id": account_id, "time": monotonic()})
        return text

    def revoke(self, token: str) -> bool:
        """Accept this token no longer; False where it was unknown."""
        return self._tokens.pop(token, None) is not None

    def revoke_minted(self) -> None:
        """No longer accept any token of an integrated account."""
        self._tokens = {text: token for text, token in self._tokens.items() if token.account_id is None}

    def find(self, authorization: str | None) -> Token | None:
        """Return the valid token of an `Authorization` header, or None."""
        scheme, _, text = (authorization or "").partition(" ")
        token = self._tokens.get(text.strip()) if scheme.lower() == "bearer" else None
        if token and token.expires_at and token.expires_at <= datetime.now(timezone.utc):
            return None
        return token
