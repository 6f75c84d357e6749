"""How far a running task is, as an XCom: what Airflow shows of a task that has not ended yet.

Airflow clears it when another try begins, as every XCom, and keeps it over a deferral. (A task of Airflow 3 cannot
set its own note.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone
from threading import Thread
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import push_xcom

if TYPE_CHECKING:
    from airflow_provider_truto.operators._operator import TrutoOperator

#: The XCom key.
PROGRESS_KEY = "progress"
#: Seconds before a task says how far it is for the first time, and between two times.
FIRST_SECONDS = 5.0
SECONDS = 30.0
#: Characters of an error that are told.
_LONGEST_MESSAGE = 300


class ProgressXCom:
    """Pushes numbers now and then. A push that fails is told once in the log, and never fails the task.

    Nothing is pushed outside of a DAG run, or under ``do_xcom_push=False``.
    """

    def __init__(self, operator: TrutoOperator, context: Mapping[str, Any]) -> None:
        self._log = operator.log
        self._ti = context.get("ti") if operator.do_xcom_push else None
        self._next = time.monotonic() + FIRST_SECONDS
        self._thread: Thread | None = None
        self._has_failed = False
        #: Whether it was pushed at all.
        self.is_shown = False

    def show(self, value: Mapping[str, Any]) -> None:
        """Push how far the task is, where it is time to."""
        if self._is_due():
            self._push(value)

    def show_aside(self, value: Mapping[str, Any]) -> None:
        """Push it from a thread of its own: an event loop must not wait for Airflow. One at a time."""
        if (self._thread is None or not self._thread.is_alive()) and self._is_due():
            self._thread = Thread(target=self._push, args=(value,), name="truto-progress", daemon=True)
            self._thread.start()

    def end(self, value: Mapping[str, Any]) -> None:
        """Push how far the task came. Waits for a push that is under way: the task's own XComs follow it."""
        if self._thread is not None:
            self._thread.join()
        self._push(value)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if self._ti is None or now < self._next:
            return False
        self._next = now + SECONDS
        return True

    def _push(self, value: Mapping[str, Any]) -> None:
        if self._ti is None:
            return
        self.is_shown = True
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            push_xcom(self._ti, PROGRESS_KEY, {**value, "at": now})
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                message = f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]
                self._log.warning("How far this task is could not be pushed to XCom (told once): %s", message)
