"""A browser for the tests of pages."""

from collections.abc import Iterator

import pytest

from tests.report.browser import Browser, find_chromium, read_axe


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, started once."""
    with Browser(find_chromium(), tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="session")
def axe() -> str:
    """Text of axe-core."""
    return read_axe()
