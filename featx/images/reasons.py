"""Reasons: why one image cannot be read or decoded, in the words of a ledger."""

from __future__ import annotations

from featx.core.errors import FeatxError
from featx.images.missing import explain_missing


def describe_failure(error: Exception) -> str:
    """Say why one image failed.

    Parameters
    ----------
    error : Exception
        Error that reading or decoding the image raised.

    Returns
    -------
    str
        The reason, without a full stop at its end.

    Examples
    --------
    >>> describe_failure(ValueError("no such mode"))
    'ValueError: no such mode'
    """
    if isinstance(error, FileNotFoundError):
        return explain_missing(str(error.filename))
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, FeatxError):
        return f"{error.reason}. {error.remedy}".rstrip(".")
    return f"{type(error).__name__}: {error}"
