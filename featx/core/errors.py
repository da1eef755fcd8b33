"""Every error that featx raises on purpose, and the one way to ask for an optional part.

A message reads ``<subject and place>: expected <X>, got <Y>. <What to do next.>``
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class FeatxError(Exception):
    """Base of all errors that tell the user something; the command line prints it in one line.

    Attributes
    ----------
    exit_code : int
        With which the command line ends.
    """

    exit_code = 1


class SourceError(FeatxError, ValueError):
    """A folder, table or tar that cannot be read as a list of images."""


class TooManyFailuresError(SourceError):
    """A source of which more images fail than may."""

    exit_code = 3


class DecodeError(FeatxError, ValueError):
    """One image whose bytes cannot be turned into RGB pixels."""


class BackboneError(FeatxError, ValueError):
    """An unknown backbone or layer, or a network that does not fit featx's contract."""


class WeightsError(FeatxError, ValueError):
    """Weights that cannot be found, fetched, read or fitted to their backbone."""


class DeviceError(FeatxError, RuntimeError):
    """A device that this machine does not have."""


class CacheError(FeatxError, ValueError):
    """A cache that cannot be opened, or not in the way it was asked for."""


class CacheDamagedError(CacheError):
    """A cache, or a shard of one, that is not what was sealed."""


class CacheLockedError(CacheError):
    """A cache that another process writes."""


class FingerprintError(FeatxError, ValueError):
    """Two embeddings that must not be compared."""


class HeadError(FeatxError, ValueError):
    """A head that cannot be fitted, read or used."""


class TuningError(FeatxError, ValueError):
    """A network that cannot be fine-tuned as asked."""


class MissingExtraError(FeatxError, ImportError):
    """An optional dependency that is not installed."""


def require(package: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say how to install it.

    Parameters
    ----------
    package : str
        The module to import, such as ``"pyarrow"``.
    extra : str
        The featx extra that brings it.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"{package}: expected it to be installed, got {type(error).__name__}. "
            f"Run: pip install {package.split('.')[0]} (what featx[{extra}] brings)"
        ) from error


def suggest(name: str, known: Iterable[str]) -> str:
    """Name the few known words nearest to a mistyped one: the end of an error message."""
    matches = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"Nearest: {', '.join(matches)}." if matches else "None is near it."
