"""What an error means for an Airflow task: it fails for good, may be retried, or is skipped."""

from __future__ import annotations

import re
import sysconfig
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_provider_truto._compat import AirflowException, AirflowFailException, AirflowSkipException
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.skip_on import is_skipped

#: Characters of a line that Airflow's log view shows without scrolling sideways; it wraps nothing by itself.
_LINE_WIDTH = 84
#: Where code lies that is not the DAG author's.
_LIBRARIES = (str(Path(__file__).parent), "<frozen", *set(sysconfig.get_paths().values()))


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

    ``on_failure`` is called first, with the original error and whether the task is skipped for it. What fails the
    task is logged in short lines before Airflow logs it, and the traceback of a ``TrutoError`` is cut, so that both
    are on the first screen of the log.
    """
    try:
        yield
    except Exception as error:
        failure: Exception = error
        if isinstance(error, TrutoError):
            has_policy = getattr(operator, "retry_policy", None) is not None
            failure = translate_error(error, skip_on=skip_on, has_retry_policy=has_policy)
        is_skip = isinstance(failure, AirflowSkipException)
        if on_failure is not None:
            on_failure(error, is_skip)
        if isinstance(error, TrutoError):
            operator.log.debug("Where it was raised", exc_info=error)
            _hide_libraries(error)
        if isinstance(error, (TrutoError, AirflowFailException)) and not is_skip:
            operator.log.error("%s", lay_out_message(str(error)))  # noqa: TRY400 – Airflow logs the traceback
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


def lay_out_message(message: str) -> str:
    """Return a message in short lines, its cause and its fix each on a line of its own."""
    lines = re.sub(r" (?=(?:Cause|Fix): )", "\n", message).splitlines()
    wrapped = (
        textwrap.wrap(line, _LINE_WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in lines
    )
    return "\n".join(part for parts in wrapped for part in parts)


def _hide_libraries(error: BaseException) -> None:
    """Cut what is below the operator out of the tracebacks of an error and of its causes, but for the author's code.

    A ``TrutoError`` says all that there is to be said. Airflow's log view begins at its end, where the message of an
    error with a long traceback is not seen.
    """
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        link = chain.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        step = link.__traceback__
        while step is not None:
            following = step.tb_next
            step.tb_next = _find_author(following)
            step = following
        chain += [link.__cause__, link.__context__]


def _find_author(step: TracebackType | None) -> TracebackType | None:
    """Return the first step of a traceback that is in code of the DAG author."""
    while step is not None and step.tb_frame.f_code.co_filename.startswith(_LIBRARIES):
        step = step.tb_next
    return step
