"""The arguments of an operator as its constructor shows them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ParamSpec

from airflow_provider_truto._compat import ArgNotSet, BaseOperator
from airflow_provider_truto.operators._argument import REQUIRED

P = ParamSpec("P")


def list_keyword_only(init: Callable[..., None]) -> list[inspect.Parameter]:
    """List the arguments of a constructor, without ``self`` and ``**kwargs``."""
    parameters = inspect.signature(init).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def defer_required_check(init: Callable[P, None]) -> Callable[P, None]:
    """Let ``_take`` say which required arguments of a constructor are missing, instead of Airflow or Python.

    Their error for a row of a mapped task comes in the worker, is taken for something that may pass, and is retried.
    Type checkers see the signature as it is written.
    """
    required = [parameter.name for parameter in list_keyword_only(init) if parameter.default is parameter.empty]
    init.__kwdefaults__ = {**(init.__kwdefaults__ or {}), **dict.fromkeys(required, REQUIRED)}
    return init


@cache
def list_airflow_parameters() -> frozenset[str]:
    """List the arguments that every operator of Airflow's takes."""
    # The BaseOperator that Airflow 3.0 gives here takes any argument, and its parent takes them by name.
    classes = [cls for cls in BaseOperator.__mro__ if "__init__" in vars(cls) and cls is not object]
    return frozenset(name for cls in classes for name in inspect.signature(cls.__init__).parameters)


@cache
def collect_parameters(cls: type[Any]) -> Mapping[str, inspect.Parameter]:
    """Collect an operator's arguments; one that a subclass takes as ``NOTSET`` has the default of its parent."""
    found: dict[str, inspect.Parameter] = {}
    own: list[Any] = [each for each in reversed(cls.__mro__) if hasattr(each, "arguments")]  # ours
    for each in own:
        for parameter in list_keyword_only(each.__init__):
            has_default = parameter.default is not parameter.empty and not isinstance(parameter.default, ArgNotSet)
            if has_default or parameter.name not in found:
                found[parameter.name] = parameter
    return found
