"""When Airflow runs a failed task again: a retry policy for errors of Truto (Airflow 3.3 and later).

Works for every operator and sensor of this package, and for ``@task`` functions that use the hook.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from airflow_provider_truto.client.errors import TrutoApiError, TrutoError, TrutoTransportError

try:
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError("TrutoRetryPolicy needs Airflow 3.3 or later, whose tasks take a retry_policy") from error

#: Characters that Airflow's database keeps of a reason.
_MAX_REASON = 500


class TrutoRetryPolicy(RetryPolicy):
    """Decides by the ``TrutoError`` that a task failed with; any other error is left to the task's own settings.

    ==============================================  ==================================================================
    what a retry cannot help (``not transient``)    fails now
    Truto, or the CRM, named a time to wait         retries after that time, but not after ``longest_delay``
    no usable answer: the outcome may be unknown    retries after ``unknown_outcome_delay``: under the same key, which
                                                    is executed once
    any other                                       retries as the task says (``retry_delay``, exponential backoff)
    ==============================================  ==================================================================

    A retry always counts on the task's ``retries``. Its reason is in the task's log and in Airflow's database.

    :param unknown_outcome_delay: how soon a lost answer is asked for again.
    :param longest_delay: where a longer wait is asked for, the task waits this long and no longer.
    """

    def __init__(
        self,
        *,
        unknown_outcome_delay: timedelta = timedelta(seconds=10),
        longest_delay: timedelta = timedelta(hours=24),
    ) -> None:
        self.unknown_outcome_delay = unknown_outcome_delay
        self.longest_delay = longest_delay
        for name, delay in vars(self).items():
            if not isinstance(delay, timedelta) or delay < timedelta(0):
                raise ValueError(f"{name} expects a timedelta, 0 or more, got {delay!r}")

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002  (as Airflow calls it)
        max_tries: int,  # noqa: ARG002
        context: Any = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Return what is to be done; see the class."""
        error = _find_truto_error(exception)
        if error is None:
            return RetryDecision.default()
        if not error.transient:
            return RetryDecision.fail(_describe(error, "a retry cannot help"))
        if isinstance(error, TrutoApiError) and error.retry_after is not None:
            asked = timedelta(seconds=math.ceil(min(error.retry_after, self.longest_delay.total_seconds())))
            return RetryDecision.retry(asked, _describe(error, f"waits {asked.total_seconds():.0f} s as asked"))
        if isinstance(error, TrutoTransportError):
            delay = self.unknown_outcome_delay
            return RetryDecision.retry(delay, _describe(error, f"asks again in {delay.total_seconds():.0f} s"))
        return RetryDecision.retry(reason=_describe(error, "may pass"))

    def serialize(self) -> dict[str, Any]:
        """Return the delays in seconds, as Airflow stores them with the DAG."""
        return {name: delay.total_seconds() for name, delay in vars(self).items()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> TrutoRetryPolicy:
        """Return the policy of which ``serialize`` returned ``data``."""
        return cls(**{name: timedelta(seconds=seconds) for name, seconds in data.items()})


def _find_truto_error(exception: BaseException | None) -> TrutoError | None:
    """Return the error, or the one that caused it, that is a ``TrutoError``."""
    while exception is not None and not isinstance(exception, TrutoError):
        exception = exception.__cause__
    return exception


def _describe(error: TrutoError, consequence: str) -> str:
    return f"{error.code}, {consequence}: {error}"[:_MAX_REASON]
