"""The arguments of an operator as its constructor shows them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, ParamSpec

from airflow_provider_truto._compat import ArgNotSet, BaseOperator
from airflow_provider_truto.operators._argument import REQUIRED, Argument

P = ParamSpec("P")


def list_keyword_only(init: Callable[..., None]) -> list[inspect.Parameter]:
    """List the arguments of a constructor, without ``self`` and ``**kwargs``."""
    parameters = inspect.signature(init).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def defer_required_check(init: Callable[P, None]) -> Callable[P, None]:
    """Let ``_take`` say which required arguments of a constructor are missing, instead of Airflow or Python.

    Their error for a row of a mapped task comes in the worker, is taken for something that may pass, and is retried.
    Type checkers see the signature as it is written. The constructor's own at runtime has to show the defaults, since
    that is where Airflow looks for what is required; that of the class does not, see ``SignatureMixin``.
    """
    required = [parameter.name for parameter in list_keyword_only(init) if parameter.default is parameter.empty]
    init.__kwdefaults__ = {**(init.__kwdefaults__ or {}), **dict.fromkeys(required, REQUIRED)}
    return init


class SignatureMixin:
    """An operator whose class shows its constructor's arguments, and which templates those that its table says."""

    arguments: ClassVar[Mapping[str, Argument]]
    template_fields: Sequence[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Template what the constructor takes and the table calls templated, unless the class says itself what is.

        ``inspect.signature`` and ``help`` of the class show no default for what is required.
        """
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls) and "template_fields" not in vars(cls):
            taken = [parameter.name for parameter in list_keyword_only(cls.__init__)]
            templated = [name for name in taken if name in cls.arguments and cls.arguments[name].is_templated]
            inherited = cls.template_fields
            cls.template_fields = (*inherited, *(name for name in templated if name not in inherited))
        _, *parameters = inspect.signature(cls.__init__).parameters.values()
        shown = (each.replace(default=each.empty) if each.default is REQUIRED else each for each in parameters)
        cls.__signature__ = inspect.Signature([*shown])  # type: ignore[attr-defined]


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
