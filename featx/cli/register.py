"""Networks of the user on the command line: ``--register module:function``."""

import importlib
import os
import re
import sys
from collections.abc import Iterable

from featx.core.errors import BackboneError


def register_networks(names: Iterable[str] | None) -> None:
    """Import modules of the user, and call the functions that register networks.

    Parameters
    ----------
    names : iterable of str or None
        Names ``module:function``, of modules in the working folder or installed ones. The function
        takes no arguments and calls `featx.register_backbone`.

    Raises
    ------
    BackboneError
        If there is no such module or function, or if the function fails.
    """
    for name in names or ():
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        match = re.fullmatch(r"([\w.]+):(\w+)", name)
        if match is None:
            raise BackboneError(
                subject="register",
                expected="module:function",
                got=repr(name),
                remedy="Name a function without arguments that calls featx.register_backbone, such "
                "as register=networks:register.",
            )
        try:
            getattr(importlib.import_module(match.group(1)), match.group(2))()
        except Exception as error:  # the code of the user can raise any error
            raise BackboneError(
                subject=f"register, {name}",
                expected="a function that registers a network",
                got=f"{type(error).__name__}: {error}",
                remedy="Correct the module, which must lie in the working folder or be installed; "
                "--debug shows the traceback.",
            ) from error
