"""Fixtures for fitting: a cache of several embeddings."""

from pathlib import Path

import pytest

from tests.builders import MakeCache, MakeInfo


@pytest.fixture
def several(make_cache: MakeCache, make_info: MakeInfo) -> Path:
    """Return a cache with the embeddings ``tiny@conv`` and ``tiny``."""
    infos = [make_info("tiny@conv", layer="conv", dim=4), make_info("tiny")]
    return make_cache("several.h5", infos=infos)
