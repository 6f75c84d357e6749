"""What an error means for an Airflow task: it fails for good, may be retried, or is skipped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_provider_truto._compat import AirflowException, AirflowFailException, AirflowSkipException
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.skip_on import is_skipped


class TrutoBulkError(TrutoError, AirflowException):
    """A bulk that failed: too many records failed, its source or ledger is wrong, or its time is over.

    ``transient``: the next try may do what is left. ``counts`` are those of the bulk, where it came to its end.
    """

    def __init__(self, message: str, *, transient: bool = False, counts: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.counts = counts


class TrutoSyncJobRunError(TrutoError, AirflowException):
    """A run of a sync job that failed, did not end in time, or cannot be told from another run.

    ``transient``: the next try may start another run. ``run`` is what was last seen of it.
    """

    def __init__(self, message: str, *, transient: bool = False, run: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.run = dict(run or {})


@contextmanager
def translate_errors(
    operator: Any, *, skip_on: Collection[str] = (), on_failure: Callable[[Exception, bool], None] | None = None
) -> Iterator[None]:
    """Translate a ``TrutoError`` in this block with ``translate_error``; the ``TrutoError`` is the new one's cause.

    ``on_failure`` is called first, with the original error and whether the task is skipped for it.
    """
    try:
        yield
    except Exception as error:
        failure: Exception = error
        if isinstance(error, TrutoError):
            has_policy = getattr(operator, "retry_policy", None) is not None
            failure = translate_error(error, skip_on=skip_on, has_retry_policy=has_policy)
        if on_failure is not None:
            on_failure(error, isinstance(failure, AirflowSkipException))
        if failure is error:
            raise
        raise failure from error


def translate_error(error: TrutoError, *, skip_on: Collection[str], has_retry_policy: bool) -> Exception:
    """Return the exception to raise in the task.

    ``AirflowSkipException`` where ``skip_on`` names the error; ``AirflowFailException``, after which Airflow does not
    retry, where a retry cannot help; else the error itself, which Airflow retries. Where the task has a
    ``retry_policy``, the policy decides: it gets the error itself instead of ``AirflowFailException``.
    """
    failure: Exception = error
    if is_skipped(error, skip_on):
        failure = AirflowSkipException(str(error))
    elif not error.transient and not has_retry_policy:
        failure = AirflowFailException(str(error))
    return failure
