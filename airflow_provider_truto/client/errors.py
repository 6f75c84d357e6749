"""Everything that can go wrong with a request, one class for each thing that a user would do differently.

    TrutoError
    ├── TrutoSchemaError        what was given is wrong; nothing was sent
    ├── TrutoTransportError     no response that can be read; whether a write happened is mostly unknown
    └── TrutoApiError           Truto answered, and it was not a success
        └── one subclass per fix, see ``statuses``

``transient`` says whether the same request may succeed later; for a ``TrutoApiError``, the table in ``statuses``
decides that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong with a value: a JSON pointer into it, and a sentence."""

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.message}"


class TrutoError(Exception):
    """Root of the tree. ``attempts`` and ``waited`` (seconds) tell what the call cost before it failed."""

    transient = False
    #: Whether the call may go on after ``retry_after``, a wait that was too long for it; see ``RetryPolicy``.
    is_put_off = False
    #: The name that ``skip_on`` and reports use, ``not_found`` for ``TrutoNotFoundError``.
    code = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.attempts = 0
        self.waited = 0.0
        self.idempotency_key: str | None = None
        #: The customer for whom the call was made, where one was made.
        self.integrated_account_id: str | None = None

    def __init_subclass__(cls) -> None:
        words = re.findall("[A-Z][a-z]+", cls.__name__.removeprefix("Truto").removesuffix("Error"))
        cls.code = "_".join(words).lower()


class TrutoSchemaError(TrutoError):
    """What was given is wrong; ``problems`` lists all of it, and nothing was sent."""

    def __init__(self, message: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, what: str, problems: Iterable[Problem]) -> TrutoSchemaError:
        """Build the error whose message lists every problem on a line of its own."""
        problems = tuple(problems)
        lines = "".join(f"\n  {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        return cls(f"{what}: {count}, nothing was sent.{lines}", problems)


class TrutoTransportError(TrutoError):
    """No answer that can be read.

    ``maybe_sent`` says whether the request can have gone out: a write may then have happened or not. Where it is
    false (no connection, a failed TLS handshake) nothing was written, and a repeat is safe without any key.
    """

    transient = True
    maybe_sent = True


class TrutoApiError(TrutoError):
    """Truto answered with something other than success.

    ``status`` is the HTTP status; ``error`` and ``message`` come from Truto's envelope; ``is_remote`` is
    true where the customer's CRM caused it, ``raw_response`` is then what the CRM said (redacted, cut);
    ``details`` and ``insight`` are Truto's, ``retry_after`` is in seconds. ``is_foreign`` is true where the answer
    does not look like Truto's: another server gave it, or a proxy.
    """

    is_foreign = False

    def __init__(
        self,
        text: str,
        *,
        status: int = 0,
        error: str = "",
        message: str = "",
        is_remote: bool = False,
        raw_response: Any = None,
        details: Any = None,
        insight: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.error = error
        self.message = message
        self.is_remote = is_remote
        self.raw_response = raw_response
        self.details = details
        self.insight = insight or {}
        self.retry_after = retry_after

    @property
    def missing_scopes(self) -> tuple[str, ...]:
        """OAuth scopes that the customer's connection lacks, where Truto named them."""
        return self.find_insight("forbidden_error", "missing_scopes")

    def find_insight(self, key: str, inner: str | None = None) -> tuple[str, ...]:
        """Return the names that ``insight`` lists under a key; none where it has none."""
        entry = self.insight.get(key)
        value = entry.get("value") if isinstance(entry, dict) else None
        if inner is not None:
            value = value.get(inner) if isinstance(value, dict) else None
        return tuple(str(item) for item in value) if isinstance(value, list) else ()


class TrutoBadRequestError(TrutoApiError):
    """400: Truto rejected the request itself."""


class TrutoAuthenticationError(TrutoApiError):
    """401 of Truto: the API token is missing, wrong, expired or revoked."""


class TrutoReauthorizationRequiredError(TrutoApiError):
    """401 of the CRM: the customer has to connect the account again."""


class TrutoPermissionError(TrutoApiError):
    """403: see ``missing_scopes``."""


class TrutoNotFoundError(TrutoApiError):
    """404: no such record, or no such account for this token."""


class TrutoMethodNotAllowedError(TrutoApiError):
    """405."""


class TrutoSandboxReadOnlyError(TrutoMethodNotAllowedError):
    """405 of a sandbox account: it can be read, never written."""


class TrutoConflictError(TrutoApiError):
    """409: the CRM holds another record with the same unique value."""


class TrutoUnprocessableError(TrutoApiError):
    """422: the CRM validated the values and refused them."""


class TrutoRateLimitError(TrutoApiError):
    """429: too many calls; ``retry_after`` says how many seconds to wait."""


class TrutoServerError(TrutoApiError):
    """5xx: Truto or the CRM failed."""


class TrutoAccountBlockedError(TrutoServerError):
    """503 of an account that Truto has blocked."""


class TrutoPartialFailureError(TrutoApiError):
    """A 2xx that holds errors: some of a batch failed. ``errors`` and ``result`` are by resource."""

    def __init__(self, text: str, *, errors: Any = None, result: Any = None, **given: Any) -> None:
        super().__init__(text, **given)
        self.errors = errors
        self.result = result


class TrutoTemporaryError(TrutoApiError):
    """408 or 425: the server asks for the same call again, later."""
