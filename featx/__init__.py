"""featx: frozen convnets turn images into embeddings once; everything after reads one file.

The public names stand in ``__init__.pyi`` and are loaded when first used. ``import featx`` imports
nothing: neither torch nor scikit-learn, and nothing before the command can look out for signals.
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load a public name. The random numbers of the caller go on: scikit-learn's import draws."""
    if name.startswith("__") and name != "__all__":  # Python and its tools ask modules for many
        raise AttributeError(f"module 'featx' has no attribute {name!r}")
    import random
    import sys

    state, n_modules = random.getstate(), len(sys.modules)
    if "_load" not in globals():
        _attach()
    try:
        return globals()[name] if name == "__all__" else _load(name)
    finally:
        if len(sys.modules) > n_modules:
            random.setstate(state)


def __dir__() -> list[str]:
    _attach()
    return __dir__()


def _attach() -> None:
    """Put the names of ``__init__.pyi`` in place of this module's own look-up."""
    global _load, __dir__, __all__
    import lazy_loader

    _load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
