"""What all sensors share: arguments and rendering as operators have them, and waiting in all of Airflow's ways."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import AirflowException, AirflowSkipException
from airflow_provider_truto.airflow_errors import translate_errors
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.links import TrutoIntegratedAccountsLink, TrutoLink
from airflow_provider_truto.operators._arguments import SENSOR_ARGUMENTS
from airflow_provider_truto.operators._operator import TrutoOperator
from airflow_provider_truto.triggers.base import ERROR, FailedPolls

try:  # here and not in _compat: operators need none, and it takes time to import
    from airflow.sdk import BaseSensorOperator
    from airflow.sdk.exceptions import AirflowSensorTimeout
except ImportError:
    from airflow.exceptions import AirflowSensorTimeout

    try:
        from airflow.sdk import BaseSensorOperator
    except ImportError:  # Airflow 2.11
        from airflow.sensors.base import BaseSensorOperator

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoHook
    from airflow_provider_truto.triggers.base import PollingTrigger


class TrutoSensor(TrutoOperator, BaseSensorOperator):
    """A sensor that asks Truto: in a worker (``mode="poke"``, ``"reschedule"``) or in the triggerer (``deferrable``).

    A look that fails is counted and not raised, up to ``max_failed_polls`` in a row, unless a repeat cannot help.
    (In ``mode="reschedule"`` each look is a process of its own, and nothing is counted.) ``soft_fail`` skips the task
    whatever it would fail of.
    """

    arguments = SENSOR_ARGUMENTS
    operator_extra_links: Collection[TrutoLink] = (TrutoIntegratedAccountsLink(),)
    truto_conn_id: Any
    deferrable: Any
    max_failed_polls: Any

    @abstractmethod
    def look(self, hook: TrutoHook) -> Any:
        """Ask once; return what goes to XCom where it is over, else ``None``. Raises what a call raises."""

    def finish(self, context: Any, found: Any) -> Any:  # noqa: ARG002
        """Return what goes to XCom of what ``look`` has found; a sensor may push more."""
        return found

    @abstractmethod
    def make_trigger(self, **waiting: Any) -> PollingTrigger:
        """Make the trigger that waits for the same."""

    def execute(self, context: Any) -> Any:
        """Look until it is over."""
        from airflow_provider_truto.hooks.truto import TrutoHook

        with self._translate_errors():
            self.check_arguments()
            self._hook = TrutoHook(self.truto_conn_id, max_attempts=1)  # the next look is the repeat
            self._polls = FailedPolls(self.max_failed_polls)
            self._found: Any = None
            if not self.deferrable:
                BaseSensorOperator.execute(self, context)  # super() is another operator on Airflow 3.0
            elif not self.poke(context):
                return self._defer(context, time.time() + self.timeout)
            return self.finish(context, self._found)

    def poke(self, context: Any) -> bool:  # noqa: ARG002
        """Look once, as Airflow asks for it."""
        try:
            self._found = self.look(self._hook)
        except TrutoError as error:
            self.log.warning("%s", self._polls.count(error))
            return False
        self._polls.reset()
        return self._found is not None

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> Any:
        """Look once more after the triggerer has."""
        from airflow_provider_truto.hooks.truto import TrutoHook

        with self._translate_errors():
            self.check_arguments()
            found = self.look(TrutoHook(self.truto_conn_id))
            if found is not None:
                return self.finish(context, found)
            if event["reason"] == ERROR:
                raise AirflowException(f"The triggerer could not wait: {event['message']}")
            if time.time() >= event["deadline"]:
                raise AirflowSensorTimeout(f"It was not over within {self.timeout:g} seconds, the timeout.")
            return self._defer(context, event["deadline"])

    def _defer(self, context: Any, deadline: float) -> Any:
        trigger = self.make_trigger(
            truto_conn_id=self.truto_conn_id,
            poll_interval=self.poke_interval,
            deadline=deadline,
            max_failed_polls=self.max_failed_polls,
        )
        return self.defer_until_event(context, trigger)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Skip where ``soft_fail`` is set; else fail the way all operators do."""
        try:
            with translate_errors(self):
                yield
        except AirflowSkipException:
            raise
        except Exception as error:
            if not self.soft_fail or _is_reschedule(error):
                raise
            raise AirflowSkipException(f"soft_fail skips this task instead of failing it: {error}") from error


def _is_reschedule(error: Exception) -> bool:
    return type(error).__name__ == "AirflowRescheduleException"
