"""Files of format version 1, which was never released, are refused."""

from pathlib import Path

import pytest

from featx.cache.reader import open_cache
from featx.core.errors import CacheError

FILE = Path(__file__).parent / "fixtures" / "version-1.h5"


def test_open_cache_of_version_1_is_refused_in_one_line() -> None:
    with pytest.raises(CacheError, match=r"^[^\n]*expected format featx-cache version 2[^\n]*$"):
        open_cache(FILE)
