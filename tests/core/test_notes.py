"""Notes: one call logs and warns, at the line of the caller's own code."""

import logging
import warnings
from contextlib import contextmanager
from typing import Any

import pytest

import featx
from featx.core.errors import FeatxWarning
from featx.core.notes import note
from featx.heads import splits


def test_note_is_logged_and_warned_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="featx"), pytest.warns(FeatxWarning) as warned:
        note("3 images failed.")
    assert [record.getMessage() for record in caplog.records] == ["3 images failed."]
    assert [str(found.message) for found in warned] == ["3 images failed."]


def test_note_points_at_the_line_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    # A function of the library, however deep: its own lines are passed over.
    inner = eval("lambda: note('x')", {"note": note, "__name__": splits.__name__})
    outer = eval("lambda: inner()", {"inner": inner, "__name__": "featx.fitting.fit"})
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        outer()
    assert warned[0].filename == __file__


def test_note_of_a_context_manager_points_at_the_line_of_the_caller() -> None:
    code = """
@contextmanager
def open_place():
    note("x")
    yield

def run():
    with open_place():
        pass
"""
    library: dict[str, Any] = {"note": note, "contextmanager": contextmanager}
    library["__name__"] = "featx.extraction.workspace"
    exec(code, library)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        library["run"]()
    assert warned[0].filename == __file__


def test_warning_is_public() -> None:
    assert featx.FeatxWarning is FeatxWarning
