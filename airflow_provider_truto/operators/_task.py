"""What Truto operators need of the task they run as: its identity, its state, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_provider_truto._compat import AirflowException, AirflowFailException, AirflowSkipException
from airflow_provider_truto.client.errors import TrutoApiError, TrutoError, TrutoNotFoundError
from airflow_provider_truto.updates.keys import TaskIdentity

_SUFFIX_KEY = "truto_idempotency_suffix"


def task_identity(context: Mapping[str, Any]) -> TaskIdentity | None:
    """Read who runs; ``None`` outside a task, as in a test that calls ``execute({})``."""
    ti, task = context.get("ti"), context.get("task")
    if ti is None or task is None:
        return None
    return TaskIdentity(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index,
        # max_tries grows when the task is cleared and stays while it is retried.
        generation=ti.max_tries - (task.retries or 0),
    )


class TaskStateSuffixes:
    """Keeps the number behind an idempotency key in Airflow's task state store, which outlives tries."""

    def __init__(self, store: Any, generation: int, *, may_advance: bool) -> None:
        self._store = store
        self._generation = generation
        #: An earlier try may have been executed although its answer, or the whole try, was lost.
        self.may_advance = may_advance

    def load(self) -> int:
        """Give the number of this generation, 1 where there is none."""
        state = self._store.get(_SUFFIX_KEY)
        if isinstance(state, dict) and state.get("generation") == self._generation:
            return int(state["suffix"])
        return 1

    def save(self, suffix: int) -> None:
        """Store the number before anything is sent under it."""
        self._store.set(_SUFFIX_KEY, {"generation": self._generation, "suffix": suffix})


def task_suffixes(context: Mapping[str, Any]) -> TaskStateSuffixes | None:
    """Give the store of this task; ``None`` before Airflow 3.3, where nothing outlives a try."""
    identity = task_identity(context)
    store = context.get("task_state_store")
    if identity is None or store is None:
        return None
    # Tries count on over clearing, and so do generations.
    is_first_try = context["ti"].try_number == identity.generation + 1
    return TaskStateSuffixes(store, identity.generation, may_advance=is_first_try)


def codes_of_errors() -> dict[str, type[TrutoApiError]]:
    """Map the names that ``skip_on`` takes to their errors: ``not_found`` to ``TrutoNotFoundError``."""
    classes: dict[str, type[TrutoApiError]] = {}
    pending: list[type[TrutoApiError]] = TrutoApiError.__subclasses__()
    while pending:
        cls = pending.pop()
        classes[cls.code] = cls
        pending += cls.__subclasses__()
    return classes


class TrutoBulkError(TrutoError, AirflowException):
    """A bulk that did not end well: too many of its records failed, or its source, its ledger or its time gave out.

    ``transient``: the next try may do what is left. ``counts`` are those of the bulk, where it came to its end.
    """

    def __init__(self, message: str, *, transient: bool = False, counts: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.counts = counts


@contextmanager
def failing_in_airflow_terms(
    operator: Any, *, skip_on: Collection[str] = (), tell: Callable[[Exception, bool], None] | None = None
) -> Iterator[None]:
    """Let what an operator does fail the way ``airflow_error`` says, with the ``TrutoError`` as the cause.

    Before that, ``tell`` gets the error, and whether it skips the task.
    """
    try:
        yield
    except Exception as error:
        failure: Exception = error
        if isinstance(error, TrutoError):
            has_policy = getattr(operator, "retry_policy", None) is not None
            failure = airflow_error(error, skip_on=skip_on, has_retry_policy=has_policy)
        if tell is not None:
            tell(error, isinstance(failure, AirflowSkipException))
        if failure is error:
            raise
        raise failure from error


def airflow_error(error: TrutoError, *, skip_on: Collection[str], has_retry_policy: bool) -> Exception:
    """Say in Airflow's terms what an error means for the task.

    A skip where ``skip_on`` names it; ``AirflowFailException``, which no retry follows, where a retry cannot
    mend it, unless the task has a ``retry_policy``, which then decides on the error itself.
    """
    classes = codes_of_errors()
    failure: Exception = error
    # Truto's own 404 says that the task is wrong (its account, its resource), not that a record is gone.
    is_wrong_task = isinstance(error, TrutoNotFoundError) and not error.is_remote
    if any(isinstance(error, classes[code]) for code in skip_on) and not is_wrong_task:
        failure = AirflowSkipException(str(error))
    elif not error.transient and not has_retry_policy:
        failure = AirflowFailException(str(error))
    return failure
