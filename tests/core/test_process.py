"""Settings that are held for a while are given back, whoever else uses or changes them."""

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from featx.core.process import HeldSettings, ignore_warnings


@pytest.fixture
def library() -> SimpleNamespace:
    return SimpleNamespace(limit=9, is_strict=False)


@pytest.fixture
def held(library: SimpleNamespace) -> HeldSettings:
    return HeldSettings(lambda: [(library, "limit", 3), (library, "is_strict", True)])


def test_settings_are_held_and_given_back(library: SimpleNamespace, held: HeldSettings) -> None:
    with held:
        assert library == SimpleNamespace(limit=3, is_strict=True)
    assert library == SimpleNamespace(limit=9, is_strict=False)


def test_settings_are_given_back_after_an_error(
    library: SimpleNamespace, held: HeldSettings
) -> None:
    with pytest.raises(KeyError), held:
        raise KeyError
    assert library.limit == 9


def test_settings_are_read_again_each_time(library: SimpleNamespace, held: HeldSettings) -> None:
    with held:
        pass
    library.limit = 7
    with held:
        assert library.limit == 3
    assert library.limit == 7


def test_settings_that_somebody_changes_meanwhile_stay_changed(
    library: SimpleNamespace, held: HeldSettings
) -> None:
    with held:
        library.limit = 5
    assert library == SimpleNamespace(limit=5, is_strict=False)


def test_settings_that_somebody_changes_meanwhile_hold_for_the_next_user(
    library: SimpleNamespace, held: HeldSettings
) -> None:
    with held:
        library.limit = 5
        with held:
            assert library.limit == 3
        assert library.limit == 3
    assert library == SimpleNamespace(limit=5, is_strict=False)


def test_settings_are_held_until_the_last_user_leaves(
    library: SimpleNamespace, held: HeldSettings
) -> None:
    inside, leave = threading.Event(), threading.Event()

    def use() -> None:
        with held:
            inside.set()
            assert leave.wait(60)

    thread = threading.Thread(target=use)
    with held:
        thread.start()
        assert inside.wait(60)
    assert library.limit == 3
    leave.set()
    thread.join()
    assert library.limit == 9


def test_settings_are_listed_at_the_first_use_only(library: SimpleNamespace) -> None:
    calls = []

    def list_settings() -> Iterator[tuple[object, str, object]]:
        calls.append(1)
        yield library, "limit", 3

    held = HeldSettings(list_settings)
    assert calls == []
    for _ in range(2):
        with held:
            pass
    assert calls == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_settings_are_given_back_in_a_child_that_is_forked_meanwhile(
    library: SimpleNamespace, held: HeldSettings
) -> None:
    with held:
        child = os.fork()
        if child == 0:
            before = library.limit
            with held:
                during = library.limit
            sys.stdout.flush()
            os._exit((before, during, library.limit) != (9, 3, 9))
    assert os.waitpid(child, 0)[1] == 0


def test_ignore_warnings_ignores_those_and_gives_the_filters_back() -> None:
    before = list(warnings.filters)
    with ignore_warnings(DeprecationWarning), ignore_warnings(UserWarning, "few"):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("few rows", UserWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="other"):
            warnings.warn("other", UserWarning, stacklevel=1)
    assert list(warnings.filters) == before


def test_ignore_warnings_of_threads_that_overlap_gives_the_filters_back() -> None:
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with ignore_warnings(DeprecationWarning):
            inside.set()
            assert leave.wait(60)

    thread = threading.Thread(target=hold)
    with ignore_warnings(UserWarning):
        thread.start()
        assert inside.wait(60)
    warnings.warn("old", DeprecationWarning, stacklevel=1)  # the other thread is still inside
    leave.set()
    thread.join()
    assert list(warnings.filters) == before
