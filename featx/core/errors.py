"""The errors that featx raises on purpose.

::

    FeatxError                          exit code 1
    ├── SourceError                     a source cannot be read as a list of images
    │   └── TooManyFailuresError        more images failed than allowed; exit code 3
    ├── DecodeError                     the bytes of one image cannot be decoded
    ├── BackboneError                   a backbone or layer is unknown or unusable
    ├── WeightsError                    weights cannot be found, fetched, read or fitted
    ├── DeviceError                     a device is missing or too small
    ├── CacheError                      a cache cannot be opened or written
    │   ├── CacheDamagedError           bytes changed after they were sealed
    │   └── CacheLockedError            another process writes the cache
    ├── FingerprintError                two embeddings must not be compared
    ├── ExchangeError                   a file of another program cannot be written or read
    ├── HeadError                       a head cannot be fitted, read or used
    ├── TuningError                     a network cannot be fine-tuned as requested
    └── MissingExtraError               an optional dependency is not installed

`FeatxWarning` is no error: `featx.core.notes.note` warns with it.

Every error carries its parts and reads ``<subject>: expected <X>, got <Y>. <Remedy>``. Remedies
name Python arguments (``overwrite=True``) and calls (``featx.fit_head(cache)``); the command line
turns them into flags and commands. The parts may hold names that strangers chose and messages of
other libraries: the error shows them as one printable line of limited length.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from featx.core.address import show_locations
from featx.core.text import show_text

MAX_REMEDY = 1000
"""Length in characters of a remedy as shown: it may hold a command with long paths."""


class FeatxError(Exception):
    """Base class of all errors that featx raises on purpose.

    Parameters
    ----------
    subject : str
        The thing that is wrong: a file, a row of a file, or the name of an argument.
    expected : str
        The state that featx needs, as a noun phrase.
    got : str
        The state that featx found, as a noun phrase.
    remedy : str
        One or more sentences in the imperative that tell the reader what to do.

    Attributes
    ----------
    subject, expected, got, remedy : str
        The parts as given, without passwords and signatures in addresses.
    exit_code : int
        Exit code of the command line.
    """

    exit_code = 1

    def __init__(self, *, subject: str, expected: str, got: str, remedy: str) -> None:
        self.subject, self.expected = show_locations(subject), show_locations(expected)
        self.got, self.remedy = show_locations(got), show_locations(remedy)
        super().__init__(self.render(self.subject, self.remedy))

    @property
    def reason(self) -> str:
        """The difference alone, without subject and remedy: ``expected X, got Y``."""
        return f"expected {show_text(self.expected)}, got {show_text(self.got)}"

    def render(self, subject: str, remedy: str) -> str:
        """Write the error as one line.

        Parameters
        ----------
        subject, remedy : str
            The parts of these names, in the words of the reader: the command line passes flags and
            commands in place of arguments and calls.
        """
        return f"{show_text(subject)}: {self.reason}. {show_text(remedy, MAX_REMEDY)}"

    def __reduce__(self) -> tuple[Callable[[], FeatxError], tuple[()], dict[str, object]]:
        """Pickle the error with its notes, so that another process can raise it."""
        parts = {name: getattr(self, name) for name in ("subject", "expected", "got", "remedy")}
        return functools.partial(type(self), **parts), (), dict(self.__dict__)


class SourceError(FeatxError, ValueError):
    """A folder, table or tar cannot be read as a list of images."""


class TooManyFailuresError(SourceError):
    """More images of a source failed than the caller allows.

    Attributes
    ----------
    failures : tuple of Failure
        All failures, as `featx.read_failures` reads them.
    """

    exit_code = 3
    failures: tuple[Any, ...] = ()


class DecodeError(FeatxError, ValueError):
    """The bytes of one image cannot be decoded to RGB pixels."""


class BackboneError(FeatxError, ValueError):
    """A backbone or layer is unknown, or a network does not follow featx's contract."""


class WeightsError(FeatxError, ValueError):
    """Weights cannot be found, fetched or read, or do not fit their backbone."""


class DeviceError(FeatxError, RuntimeError):
    """A device is missing, or lacks memory or a precision."""


class CacheError(FeatxError, ValueError):
    """A cache cannot be opened or written as requested."""


class CacheDamagedError(CacheError):
    """The bytes of a cache, or of a shard, changed after they were sealed."""


class CacheLockedError(CacheError):
    """Another process writes the cache."""


class FingerprintError(FeatxError, ValueError):
    """Two embeddings must not be compared."""


class ExchangeError(FeatxError, ValueError):
    """A file for another program cannot be written, or its vectors cannot be read."""


class HeadError(FeatxError, ValueError):
    """A head cannot be fitted, read or used."""


class TuningError(FeatxError, ValueError):
    """A network cannot be fine-tuned as requested."""


class MissingExtraError(FeatxError, ImportError):
    """An optional dependency is not installed."""


class FeatxWarning(UserWarning):
    """A run goes on, but a person should know something about its result."""


def require(package: str, extra: str, *, distribution: str | None = None) -> ModuleType:
    """Import an optional dependency.

    Parameters
    ----------
    package : str
        Name of the module to import, such as ``"pyarrow.parquet"``.
    extra : str
        Name of the featx extra that installs the module.
    distribution : str, optional
        Name under which pip knows it. Default: that of the module.

    Returns
    -------
    ModuleType
        The imported module.

    Raises
    ------
    MissingExtraError
        If the module cannot be imported.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            subject=package,
            expected="an installed package",
            got=type(error).__name__,
            remedy=f"Run: pip install {distribution or package.split('.')[0]} "
            f"(the extra {extra} of featx installs it).",
        ) from error


def suggest(name: str, known: Iterable[str]) -> str:
    """Name the known words that are closest to a mistyped one.

    Parameters
    ----------
    name : str
        The word as typed.
    known : iterable of str
        The words that exist.

    Returns
    -------
    str
        One sentence for the end of a remedy.
    """
    matches = find_nearest(name, known)
    return f"Nearest: {', '.join(matches)}." if matches else "No known name is similar."


def find_nearest(name: str, known: Iterable[str]) -> list[str]:
    """Find the known words that are closest to a mistyped one, at most three, nearest first.

    Parameters
    ----------
    name : str
        The word as typed, in upper or lower case; a part of a known word is close to it.
    known : iterable of str
        The words that exist.
    """
    typed, by_lower = name.strip().lower(), {word.lower(): word for word in known}
    parts = [word for word in by_lower if len(typed) > 1 and typed in word]
    close = difflib.get_close_matches(typed, by_lower, n=3, cutoff=0.5)
    return [by_lower[word] for word in dict.fromkeys([*close, *parts])][:3]
