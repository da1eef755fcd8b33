"""Reading ahead: results in order, one at most computed before it is asked for, errors in place."""

import threading

import pytest

from featx.exchange.ahead import read_ahead


@pytest.mark.parametrize("n_items", [0, 1, 2, 5])
def test_results_come_in_order(n_items: int) -> None:
    assert list(read_ahead(lambda item: item * 2, range(n_items))) == [
        2 * n for n in range(n_items)
    ]


def test_one_more_is_read_while_the_caller_works() -> None:
    began = [threading.Event() for _ in range(4)]
    results = read_ahead(lambda number: began[number].set(), range(4))
    next(results)
    assert began[1].wait(30)
    assert not began[2].is_set()
    results.close()  # type: ignore[attr-defined]


def test_error_is_raised_in_its_place() -> None:
    results = read_ahead(lambda item: 1 // item, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
