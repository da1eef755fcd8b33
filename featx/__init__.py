"""featx: frozen convnets turn images into embeddings once; everything after reads one file.

The public names stand in ``__init__.pyi`` and are loaded when first used: ``import featx`` brings
in neither torch nor scikit-learn.
"""

import sys

import lazy_loader

__version__ = "0.1.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """Load a public name. The random numbers of the caller go on: scikit-learn's import draws."""
    import random

    state, n_modules = random.getstate(), len(sys.modules)
    try:
        return _load(name)
    finally:
        if len(sys.modules) > n_modules:
            random.setstate(state)
