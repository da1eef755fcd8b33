"""Read a head from its file, and see to it that the installed scikit-learn can use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import __version__ as sklearn_version

from featx.core.errors import HeadError
from featx.core.files import explain_reading
from featx.core.notes import note
from featx.core.recognise import LET_READ, UNREADABLE, check_local, describe_path
from featx.core.records import build_record
from featx.core.typing import PathLike
from featx.heads.allowed import RefusedTypeError
from featx.heads.checking import check_estimator, check_target_estimator
from featx.heads.head import FittedOn, Head
from featx.heads.head_file import FORMAT_NAME, FORMAT_VERSION, find_compression, unpack_fields
from featx.heads.matrix import Matrix
from featx.heads.target_head import TargetHead, build_target_estimator, unpack_target
from featx.heads.targets import Target
from featx.heads.unpickling import HeadPickle, read_pickle
from featx.heads.versions import SKLEARN, name_series

FIT_ANEW = "Fit one with featx.fit_head(cache)."

UNSAFE = (
    "Do not read the file with joblib or pickle, which would run what it names; featx ran nothing "
    "of it. Fit a head anew: featx.fit_head(cache)."
)

FIELDS = frozenset(Head.__dataclass_fields__) | {"classes", "matrix"}
TARGET_FIELDS = frozenset(["target", "held_out"])
"""Fields that heads for several classes or a number have beside them."""


def load_head(path: PathLike) -> Head:
    """Read a head that `featx.Head.save` wrote.

    The file is a pickle, but nothing in it runs: only plain values, arrays and estimators of
    scikit-learn that heads are made of are read, and any other type is refused by its name.

    If another version of scikit-learn fitted the head, a note says so. If its estimator fails in
    the installed version, the matrix of a linear head is used in its place.

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
        If the file is missing, damaged, no head, or of another format version, if it names a type
        that heads do not have, or if the installed scikit-learn cannot use the head.

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
    found = _read_file(path)
    content = found.content
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise HeadError(
            subject=str(path),
            expected=f"head format {FORMAT_VERSION}",
            got=str(version) if isinstance(version, int) else "no version",
            remedy=FIT_ANEW,
        )
    try:
        fields = _build_fields(content)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise HeadError(
            subject=str(path),
            expected="a whole head",
            got=f"one whose fields do not fit ({type(error).__name__}: {error})",
            remedy=FIT_ANEW,
        ) from error
    kind = TargetHead if "target" in fields else Head
    return kind(**{**fields, "estimator": _choose_estimator(path, found, fields)})


def _read_file(path: Path) -> HeadPickle:
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
    with explain_reading(path, error=HeadError):
        compression = find_compression(path)
        if compression:
            got = f"a file that is compressed ({compression}), which featx does not write"
            raise HeadError(subject=str(path), expected=expected, got=got, remedy=FIT_ANEW)
        try:
            found = read_pickle(path)
        except RefusedTypeError as error:
            raise HeadError(
                subject=str(path),
                expected="types that a featx head has",
                got=error.name,
                remedy=UNSAFE,
            ) from error
        except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
            got = f"a file that cannot be read as one ({type(error).__name__}: {error})"
            raise HeadError(
                subject=str(path), expected=expected, got=got, remedy=FIT_ANEW
            ) from error
    content = found.content
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT_NAME:
        got = f"a pickle of another kind ({type(content).__name__})"
        raise HeadError(subject=str(path), expected=expected, got=got, remedy=FIT_ANEW)
    return found


def _build_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Build the fields of a head, each of its type; the estimator is left as it is."""
    names = FIELDS | TARGET_FIELDS if "target" in content else FIELDS
    if content.keys() != names:
        raise ValueError(f"other names: {', '.join(sorted(content.keys() ^ names))}")
    fields = {name: content[name] for name in names - {"classes", "matrix"}} | unpack_fields(
        content
    )
    fields["fitted_on"] = build_record(FittedOn, content["fitted_on"])
    if "target" in content:
        fields |= unpack_target(content)
    return fields


def _choose_estimator(path: Path, found: HeadPickle, fields: Mapping[str, Any]) -> Any:
    """Return the estimator of the file or, if it fails here, one that its matrix stands for."""
    content, dim, target = found.content, _count_dims(fields), fields.get("target")
    stamps = {*found.sklearn_versions, fields["versions"].get(SKLEARN, sklearn_version)}
    others = sorted(stamps - {sklearn_version})
    origin = f"fitted with scikit-learn {', '.join(others)}, this is {sklearn_version}"
    failure = _find_failure(found, dim, target)
    if failure is None:
        if others:
            note(f"{path}: {origin}")
        return content["estimator"]
    if content["matrix"] is None:
        named = name_series({SKLEARN: others[0]}) if others else ""
        raise HeadError(
            subject=str(path),
            expected=f"a head that scikit-learn {sklearn_version} can use",
            got=f"one {origin} ({failure})" if others else f"one that fails ({failure})",
            remedy=f"Fit it again, or install {named}." if named else "Fit it again.",
        )
    try:
        matrix = Matrix.from_dict(content["matrix"])
        if matrix.weight.shape != (len(content["classes"]) or 1, dim):
            raise ValueError("a matrix of another shape")
    except (TypeError, ValueError) as error:
        raise HeadError(
            subject=str(path), expected="a whole head", got=f"one with {error}", remedy=FIT_ANEW
        ) from error
    why = origin if others else f"its estimator fails in scikit-learn {sklearn_version}"
    note(f"{path}: {why}; its matrix is used in place of the estimator ({failure})")
    if target is not None:
        return build_target_estimator(matrix, target)
    return matrix.build_estimator(np.array(content["classes"], object))


def _count_dims(fields: Mapping[str, Any]) -> int:
    """Return the length of the rows that a head reads."""
    return sum(one.fingerprint.dim for one in fields["embeddings"])


def _find_failure(found: HeadPickle, dim: int, target: Target | None) -> str | None:
    """Say why an estimator cannot be used here; None if it can."""
    if found.absent:
        return f"no {found.absent[0]} there"
    try:
        if target is not None:
            check_target_estimator(found.content["estimator"], dim=dim, target=target)
        else:
            check_estimator(found.content["estimator"], dim=dim, classes=found.content["classes"])
    except Exception as error:  # an estimator of another version can raise any error
        return f"{type(error).__name__}: {error}"
    return None
