"""What a cache was made of, which a file that is made from it must not replace."""

from __future__ import annotations

import hashlib
from pathlib import Path

from featx.cache.reader import Cache
from featx.core.digests import pack_digests
from featx.core.errors import FeatxError
from featx.core.inputs import check_not_read


def check_not_of_cache(path: Path, cache: Cache, *, error: type[FeatxError]) -> None:
    """Refuse to replace a cache, or an image of one of its rows.

    Parameters
    ----------
    path : Path
        Path of the file that is to be written.
    cache : Cache
        Open cache; it may be several that are read as one.
    error : type
        Class of the error to raise.

    Raises
    ------
    FeatxError
        If the path is that of the cache, or if the file there has the bytes of an image of the
        cache. The class of the error is `error`.
    """
    check_not_read(path, [member.path for member in cache.members], error=error)
    if not path.is_file():
        return
    with path.open("rb") as stream:
        digest = pack_digests([hashlib.file_digest(stream, "sha256").hexdigest()])
    if (cache.read_column("digest") == digest).all(axis=1).any():
        raise error(
            subject=str(path),
            expected="a file of its own",
            got="an image of the cache",
            remedy="Pass another path.",
        )
