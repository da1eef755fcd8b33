"""The interval of each recall, beside that of scipy and of the balanced accuracy."""

import numpy as np
import pytest
from scipy.stats import binomtest

from featx.core.typing import Array
from featx.heads.evaluate import Evaluation, score_predictions
from featx.heads.intervals import estimate_interval

CLASSES = np.array(["ants", "bees", "wasps"], object)


def build_labels() -> tuple[Array, Array]:
    y = np.repeat(CLASSES[:2], [40, 10])
    predicted = y.copy()
    predicted[:6], predicted[40:44] = "bees", "wasps"
    return y, predicted


def test_interval_of_single_rows_is_wilsons() -> None:
    y, predicted = build_labels()
    ants, bees, wasps = score_predictions(y, predicted, classes=CLASSES).per_class
    for one, n_right in ((ants, 34), (bees, 6)):
        expected = binomtest(n_right, one.n_rows).proportion_ci(method="wilson")
        assert one.recall_ci95 == pytest.approx((expected.low, expected.high))
    assert (wasps.n_rows, wasps.recall, wasps.recall_ci95) == (0, None, None)


def test_interval_respects_units_and_folds() -> None:
    y, predicted = build_labels()
    units = np.arange(50) // 2
    plain, joined, folded = (
        score_predictions(y, predicted, classes=CLASSES, **options).per_class[0].recall_ci95
        for options in ({}, {"units": units}, {"units": units, "n_folds": 5})
    )
    assert plain is not None
    assert joined is not None
    assert folded is not None
    assert joined == pytest.approx(estimate_interval((y == predicted)[:40], units[:40]))
    assert folded[0] < joined[0] < plain[0]


def test_scores_that_an_older_featx_stored_have_no_interval() -> None:
    y, predicted = build_labels()
    fields = score_predictions(y, predicted, classes=CLASSES).to_dict()
    assert Evaluation.from_dict(fields).per_class[0].recall_ci95 is not None
    for one in fields["per_class"]:
        del one["recall_ci95"]
    loaded = Evaluation.from_dict(fields)
    assert [one.recall_ci95 for one in loaded.per_class] == [None] * 3
    assert "ants" in loaded._repr_html_()
