"""Giving the worker back for a long wait: the task is deferred until the wait is over, and then starts over.

Nothing is sent from the triggerer, and nothing of the task but a few numbers is stored meanwhile. The resumed task is
the same try of Airflow's: its templates are rendered again, and the same body goes out under the same key. What a try
does between two deferrals, in one process, is called a part of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any

from airflow_provider_truto.client.plurals import count
from airflow_provider_truto.operators._lineage import LineageMixin
from airflow_provider_truto.operators._operator import TrutoOperator, is_of_other_try

#: Up to so many seconds are added to a wait, since many tasks may be told the same moment.
_JITTER = 5.0


@dataclass(frozen=True, kw_only=True)
class Deferrals:
    """What a try knows of its deferrals. ``began`` is when its first part did, in seconds since 1970.

    ``count`` are those in a row that brought nothing, ``seconds`` is what the waits of all add up to.
    """

    began: float
    count: int = 0
    seconds: float = 0.0


class DeferringOperator(LineageMixin, TrutoOperator):
    """An operator that is deferred where it is told to wait longer than ``defer_wait_over``."""

    defer_wait_over: Any = None
    #: Of the resumed task, until ``execute`` takes it.
    _resumed: Mapping[str, Any] | None = None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Run ``execute`` again, that of a subclass as well, which need not know of deferrals."""
        kwargs = dict(next_kwargs or {})
        if next_method == "execute":
            event = kwargs.pop("event")
            self._resumed = None if is_of_other_try(kwargs, context) else event
        return super().resume_execution(next_method, kwargs, context)

    def _take_deferrals(self) -> Deferrals:
        """Return what is known of the deferrals before this part of the try; call it once."""
        resumed, self._resumed = self._resumed, None
        return Deferrals(began=time.time()) if resumed is None else Deferrals(**resumed)

    def find_longest_wait(self, context: Mapping[str, Any]) -> float | None:
        """Return the seconds that the worker waits at most; ``None`` where it waits as long as the connection says.

        Outside of a task, as in a test that calls ``execute({})``, nothing can be deferred.
        """
        longest: float | None = self.defer_wait_over
        return None if context.get("ti") is None else longest

    def wait_deferred(self, context: Any, seconds: float, deferrals: Deferrals, *, at_most: int) -> None:
        """Defer the task for so many seconds. Return where it must not be deferred, which the log explains.

        ``at_most`` are the deferrals in a row that may bring nothing.
        """
        if reason := self._find_obstacle(seconds, deferrals, at_most=at_most):
            self.log.warning("The task is told to wait %.0f s, and is not deferred for it: %s", seconds, reason)
            return
        from airflow_provider_truto.triggers.waits import TrutoWaitTrigger

        until = time.time() + seconds + random.random() * _JITTER  # noqa: S311  (not a secret)
        moment = datetime.fromtimestamp(until, timezone.utc).isoformat(timespec="seconds")
        self.log.info("Told to wait %.0f s: the worker is given back until %s", seconds, moment)
        known = replace(deferrals, count=deferrals.count + 1, seconds=deferrals.seconds + seconds)
        trigger = TrutoWaitTrigger(until=until, event=asdict(known))
        self.defer_until_event(context, trigger, method_name="execute")

    def _find_obstacle(self, seconds: float, deferrals: Deferrals, *, at_most: int) -> str | None:
        if deferrals.count >= at_most:
            times = count(deferrals.count, "time")
            return f"it has been {times} already, and max_attempts of the connection allows no more"
        timeout = self.execution_timeout
        if timeout is not None and time.time() + seconds > deferrals.began + timeout.total_seconds():
            return "execution_timeout would be over before"
        return None
