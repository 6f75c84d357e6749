"""Functions of the DAG author, by their dotted names."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def import_function(path: str, *, argument: str) -> Callable[..., Any]:
    """Import ``"my_package.my_module.to_record"``.

    Raises ``ValueError`` that names the argument where there is no such function.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{argument}: {path!r} cannot be imported: {error}") from error
    if not callable(function):
        raise ValueError(f"{argument}: {path!r} is not a function")  # noqa: TRY004  (an argument that is wrong)
    result: Callable[..., Any] = function
    return result
