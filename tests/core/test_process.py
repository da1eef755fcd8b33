"""Settings that are held for a while are given back, whoever else uses or changes them."""

import dis
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from featx.core import process
from featx.core.process import HeldSettings, SharedBlock, ignore_warnings, single_threaded


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


def test_shared_block_begins_with_the_first_and_ends_with_the_last() -> None:
    told: list[str] = []

    def begin() -> Callable[[], None]:
        told.append("begin")
        return lambda: told.append("end")

    block = SharedBlock(begin)
    with block, block:
        assert told == ["begin"]
    assert told == ["begin", "end"]
    with pytest.raises(KeyError), block:
        raise KeyError
    assert told == ["begin", "end"] * 2


def test_shared_block_that_cannot_begin_is_not_entered() -> None:
    answers: Iterator[Any] = iter([KeyError, None])

    def begin() -> Callable[[], None]:
        if error := next(answers):
            raise error
        return lambda: None

    block = SharedBlock(begin)
    with pytest.raises(KeyError), block:
        pass
    with block:
        pass
    assert next(answers, "used") == "used"


def interrupt_at(number: int, enter: Callable[[], object]) -> bool:
    """Raise KeyboardInterrupt where Python looks for signals; False if there are fewer places."""
    left = [number]
    last: dict[Any, int] = {}
    names: dict[Any, dict[int, str]] = {}

    def trace(frame: Any, event: str, _argument: object) -> Any:
        code = frame.f_code
        if code.co_filename != process.__file__ or code.co_name not in ("__enter__", "_hold"):
            return None
        frame.f_trace_opcodes = True
        if code not in names:
            names[code] = {one.offset: one.opname for one in dis.get_instructions(code)}
        if event == "opcode":
            looks = names[code].get(last.get(frame, -1), "").startswith(("CALL", "RESUME", "JUMP"))
            last[frame] = frame.f_lasti
            left[0] -= looks
            if looks and not left[0]:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        enter()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_interrupt_while_settings_are_taken_holds_neither_settings_nor_locks(
    library: SimpleNamespace,
) -> None:
    for number in range(1, 1000):
        held = HeldSettings(lambda: [(library, "limit", 3)])
        block = SharedBlock(lambda: lambda: setattr(library, "is_strict", False))

        def enter(held: HeldSettings = held, block: SharedBlock = block) -> None:
            with held, block:
                pass

        was_interrupted = interrupt_at(number, enter)
        assert library == SimpleNamespace(limit=9, is_strict=False)
        assert held._n_users == block._n_users == 0
        for one in (held, block):
            assert one._lock.acquire(blocking=False)
            one._lock.release()
        if not was_interrupted:
            break
    assert number > 5


def test_products_of_matrices_are_limited_until_the_last_thread_leaves() -> None:
    from threadpoolctl import threadpool_info

    def read_limits() -> list[int]:
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    before, inside, leave = read_limits(), threading.Event(), threading.Event()

    def hold() -> None:
        with single_threaded():
            inside.set()
            assert leave.wait(60)

    thread = threading.Thread(target=hold)
    with single_threaded():
        thread.start()
        assert inside.wait(60)
    assert read_limits() == [1] * len(before)
    leave.set()
    thread.join()
    assert read_limits() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_filters_are_given_back_in_a_child_that_is_forked_meanwhile() -> None:
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with ignore_warnings(DeprecationWarning):
            inside.set()
            assert leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        is_right = list(warnings.filters) == before
        with ignore_warnings(UserWarning):
            pass
        os._exit(not is_right)
    assert os.waitpid(child, 0)[1] == 0
    leave.set()
    thread.join()
