"""A circuit breaker per customer: an error that every later record would meet stops that customer's records only."""

from __future__ import annotations

from airflow_provider_truto.client.errors import (
    TrutoAccountBlockedError,
    TrutoApiError,
    TrutoError,
    TrutoReauthorizationRequiredError,
    TrutoSandboxReadOnlyError,
)
from airflow_provider_truto.client.statuses import find_meaning

#: Calls in flight for an account that has not answered well yet: one that must reconnect costs no more than these.
INITIAL_CONCURRENCY = 4
#: After so many failures in a row, none of which is a record's own, an account is given up for this try.
FAILURES_IN_A_ROW = 5
#: Errors that hold for every record of an account, and what they say of it. By class: the check of an account before
#: its first call raises them too, without a status.
_OF_ACCOUNT: dict[type[TrutoError], str] = {
    TrutoReauthorizationRequiredError: "must reconnect the CRM",
    TrutoAccountBlockedError: "is blocked by Truto",
    TrutoSandboxReadOnlyError: "has a sandbox, which takes no writes",
}


class CircuitBreaker:
    """Decides whether records of one customer's account are still sent in this try.

    ``opened_by`` is what every later record would meet, ``None`` while records may be sent; ``reason`` says so in
    words.
    """

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id
        self._has_succeeded = False
        self._failures_in_a_row = 0
        self.opened_by: TrutoError | None = None
        self.reason = ""

    @property
    def max_concurrency(self) -> int | None:
        """How many calls may be in flight before the account has answered well; ``None`` after that."""
        return None if self._has_succeeded else INITIAL_CONCURRENCY

    def on_success(self) -> None:
        """Note that a record went well."""
        self._has_succeeded, self._failures_in_a_row = True, 0

    def on_failure(self, error: TrutoError, *, ordinal: int, is_tolerated: bool = False) -> None:
        """Note that the record of row ``ordinal`` failed.

        One that is tolerated counts only where every later record would meet the same error: those need no call.
        """
        reason = next((words for of_account, words in _OF_ACCOUNT.items() if isinstance(error, of_account)), None)
        if reason is None and not is_tolerated and not _is_of_record(error):
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= FAILURES_IN_A_ROW:
                reason = (
                    f"was given up for this try after {FAILURES_IN_A_ROW} failures in a row, the last one"
                    f" {error.code!r}"
                )
        elif reason is None:
            self._failures_in_a_row = 0
        if reason is not None and not isinstance(self.opened_by, tuple(_OF_ACCOUNT)):
            self.opened_by = error
            self.reason = f"customer {self._account_id or 'without a name'} {reason} (seen at row {ordinal})"

    def give_up(self, error: TrutoError) -> None:
        """Send no more records of this account in this try."""
        if self.opened_by is None:
            self.opened_by, self.reason = error, str(error)


def _is_of_record(error: TrutoError) -> bool:
    """Whether a failure may be the record's own."""
    if error.transient or not isinstance(error, TrutoApiError):
        return not error.transient
    return not find_meaning(error.status, is_remote=error.is_remote).is_of_account
