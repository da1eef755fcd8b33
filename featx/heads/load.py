"""Read a head from its file, and see to it that the installed scikit-learn can use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib

from featx.core.errors import HeadError
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Origin
from featx.core.recognise import LET_READ, UNREADABLE, check_local, describe_path
from featx.core.typing import PathLike
from featx.heads.evaluate import CrossValidation
from featx.heads.head import FittedOn, Head
from featx.heads.head_file import FORMAT_NAME, FORMAT_VERSION

FIT_ANEW = "Fit one with featx.fit_head(cache)."


def load_head(path: PathLike) -> Head:
    """Read a head that `featx.Head.save` wrote.

    A joblib file is a pickle, and reading a pickle may run code: read only heads that you trust.

    Parameters
    ----------
    path : path
        File to read.

    Returns
    -------
    Head
        The head.

    Raises
    ------
    HeadError
        If the file is missing, damaged, no head, or of another format version.

    See Also
    --------
    featx.fit_head : Fit a head on the embeddings of a cache.

    Examples
    --------
    >>> import featx
    >>> featx.load_head("head.joblib").classes
    array(['ants', 'bees'], dtype=object)
    """
    path = Path(path)
    content = _read_content(path)
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise HeadError(
            subject=str(path),
            expected=f"head format {FORMAT_VERSION}",
            got=str(version) if isinstance(version, int) else "no version",
            remedy=FIT_ANEW,
        )
    try:
        return _build_head(content)
    except (KeyError, TypeError) as error:
        got = f"one whose fields do not fit ({type(error).__name__})"
        raise HeadError(
            subject=str(path), expected="a whole head", got=got, remedy=FIT_ANEW
        ) from error


def _read_content(path: Path) -> dict[str, Any]:
    """Read the dict in a head file, without the name of its format."""
    expected = "a head that featx wrote"
    check_local(path, HeadError)
    got = describe_path(path)
    if got == "a cache":
        remedy = f"Fit a head on it: featx.fit_head('{path}', output='head.joblib')."
        raise HeadError(subject=str(path), expected=expected, got=got, remedy=remedy)
    if got not in ("a head", "another file"):
        remedy = LET_READ if got.startswith(UNREADABLE) else FIT_ANEW
        raise HeadError(subject=str(path), expected=expected, got=got, remedy=remedy)
    try:
        content = joblib.load(path)
    except Exception as error:  # unpickling other bytes can raise any error
        got = f"a file that cannot be read ({type(error).__name__})"
        raise HeadError(subject=str(path), expected=expected, got=got, remedy=FIT_ANEW) from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT_NAME:
        got = f"a pickle of another kind ({type(content).__name__})"
        raise HeadError(subject=str(path), expected=expected, got=got, remedy=FIT_ANEW)
    return content


def _build_head(content: Mapping[str, Any]) -> Head:
    """Build a head from the fields of its file."""
    scores = content["cross_validation"]
    records = {
        "fingerprint": Fingerprint(**content["fingerprint"]),
        "origin": Origin(**content["origin"]),
        "fitted_on": FittedOn(**content["fitted_on"]),
        "cross_validation": None if scores is None else CrossValidation.from_dict(scores),
    }
    fields = {name: value for name, value in content.items() if name not in ("classes", "matrix")}
    return Head(**{**fields, **records})
