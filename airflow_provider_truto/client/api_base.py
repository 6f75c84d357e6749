"""What the methods of the API are made of: how a coroutine is run, and whose keys its writes carry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from airflow_provider_truto.client.core import Function, P, T
from airflow_provider_truto.client.keys import FindKeys, RandomKeys
from airflow_provider_truto.client.pages import Pages


class ApiBase(ABC):
    """Runs coroutine functions on a client: on requests it returns their results, on aiohttp their coroutines."""

    def find_keys(self, context: Any) -> FindKeys:  # noqa: ARG002
        """Return what makes the keys of writes that are given none; a bare client knows no tasks.

        :param context: the context of a task, ``None`` for no task, or ``CURRENT_TASK``.
        """
        return RandomKeys

    @abstractmethod
    def do(self, function: Function[P, T], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run a coroutine function on the client.

        :param function: takes the client, and then the arguments after it.
        :param args: positional arguments of the function.
        :param kwargs: keyword arguments of the function.
        """

    @abstractmethod
    def listing(
        self,
        function: Function[P, Pages],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Any:
        """Return an iterator over the records of the pages that a coroutine function opens.

        :param function: takes the client, and then the arguments after it.
        :param args: positional arguments of the function.
        :param kwargs: keyword arguments of the function.
        """
