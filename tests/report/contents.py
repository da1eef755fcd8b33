"""Made-up contents of reports: of a few classes, of a thousand, of names that try to break out."""

import functools
import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from featx.core.typing import Array, IntArray
from featx.finetune.log import Epoch
from featx.fitting.learning_curve import CurvePoint, LearningCurve
from featx.heads.calibration_curve import measure_calibration
from featx.heads.compare import compare_predictions
from featx.heads.evaluate import score_predictions
from featx.report.contents import (
    ConfusionCell,
    Finding,
    HeadPair,
    HeadPart,
    MapPoints,
    ReportContents,
    RowColumns,
    ShownRow,
    TargetPart,
)

AWKWARD = (
    "</script><script>alert('label')</script>",
    'it\'s "quoted" & <b>bold</b>',
    "\u05d7\u05ea\u05d5\u05dc \u05d5\u05db\u05dc\u05d1",  # right-to-left letters
    "turned \u202e round",
    "x" * 200,
    "<!-- <script> ${alert(1)} {{ 7 * 7 }} \\u003c",
    "line\nbreak\x00",
    "\udce9t\udce9 in latin-1",
    "蟻",
    "",
)
"""Labels of strangers: markup, quotes, writing from right to left, 200 characters, none."""

MAX_MATRIX = 20
"""Largest number of classes of a confusion matrix."""


def build_contents(
    names: Sequence[str] = ("ants", "bees"),
    *,
    n_per_class: int = 30,
    accuracies: Sequence[float] = (0.8, 0.9),
    with_maps: bool = True,
    side: int = 64,
    seed: int = 0,
) -> ReportContents:
    """Build the contents of a report about images that there are none of.

    Parameters
    ----------
    names : sequence of str
        Classes.
    n_per_class : int
        Number of rows of each class; every third row is of the split "val".
    accuracies : sequence of float
        Accuracy of each head.
    with_maps : bool
        Whether the heads have class maps.
    side : int
        Side of the thumbnails in pixels.
    seed : int
        Seed of all random numbers.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(names)), n_per_class)
    n_rows = len(labels)
    splits = np.where(np.arange(n_rows) % 3 == 0, 1, 0)
    ids = [f"{names[label]}/{row:05}.jpg" for row, label in enumerate(labels.tolist())]
    centres = rng.random((len(names), 2)) * 0.8 + 0.1
    xy = np.clip(centres[labels] + rng.normal(0, 0.05, (n_rows, 2)), 0, 1).astype(np.float32)
    failed = min(2, n_rows)
    rows = RowColumns(
        ids=ids,
        labels=labels,
        splits=splits,
        thumbnails=[
            None if row % 50 == 49 else draw_thumbnail(int(label), row % 20, side)
            for row, label in enumerate(labels)
        ],
    )
    said = [predict(labels, len(names), accuracy, rng) for accuracy in accuracies]
    heads = [
        build_head(f"head {number + 1}", names, rows, *one, with_maps=with_maps)
        for number, one in enumerate(said)
    ]
    val = np.flatnonzero(splits == 1)
    classes = np.array(names, object)
    pairs = []
    if len(heads) > 1:
        scores = compare_predictions(
            np.array(labels[val], str), *(np.array(one[0][val], str) for one in said[:2])
        )
        verdict = "Head 2 is better." if scores.is_better else "Cannot tell which head is better."
        pairs = [HeadPair(first="head 1", second="head 2", scores=scores, verdict=verdict)]
    counts = np.zeros((len(names) + 1, 3), int)
    np.add.at(counts, (labels, splits), 1)
    return ReportContents(
        title=f"{names[0]} and other images",
        summary=[
            f"{n_rows:,} rows of {len(names):,} classes.",
            *(
                f"{head.name}: accuracy {head.scores.accuracy:.3f} on val "
                "(95 % interval {:.3f} to {:.3f}).".format(*head.scores.accuracy_ci95)
                for head in heads
                if head.scores
            ),
        ],
        next_steps=[
            ("Look at the mistakes: a label may be wrong.", "featx audit images.h5 -o audit.html"),
            ("Label more rows: the curve still rises.", "featx suggest images.h5 -n 50"),
        ],
        classes=[str(name) for name in classes],
        splits=["train", "val"],
        counts=counts,
        samples={code: np.flatnonzero(labels == code)[:8].tolist() for code in range(len(names))},
        rows=rows,
        images_note="",
        failures=[
            (f"{names[0]}/broken{n}.jpg", "cannot identify image file") for n in range(failed)
        ],
        n_failures=failed,
        findings=[
            Finding(
                title="Leaks between splits",
                text="One pair of rows is all but the same image.",
                cards=[([0, n_rows - 1], [ids[0], ids[-1], "certainty 0.99"])],
            ),
            Finding(title="Outliers", text="Not measured: too few rows."),
        ],
        points=MapPoints(
            method="pca",
            text=f"Rows that are near each other look alike to the network. All {n_rows} rows.",
            rows=np.arange(n_rows),
            xy=xy,
        ),
        heads=heads,
        targets=[],
        pairs=pairs,
        curve=build_curve(len(names)),
        curve_note="More labels are likely to help: the last step gained 0.05.",
        tuning=[build_epoch(number) for number in range(6)],
        tuning_note="The last block was tuned for 5 epochs; the weights of epoch 4 were kept.",
        provenance=[
            ("Source", f"images/{names[0]}"),
            ("Backbone", "mobilenet_v2, IMAGENET1K_V2"),
            ("Written", "2026-01-01 12:00 UTC by featx 1.0"),
        ],
        commands=[
            ("Embed the images", "featx extract images/ -o images.h5 --backbone mobilenet_v2"),
            ("Write this report", "featx report images.h5 head.joblib -o report.html"),
        ],
    )


def predict(
    labels: IntArray, n_classes: int, accuracy: float, rng: np.random.Generator
) -> tuple[IntArray, Array]:
    """Make up predictions and their scores."""
    wrong = rng.random(len(labels)) >= accuracy
    other = (labels + 1 + (rng.random(len(labels)) < 0.3)) % n_classes
    scores = rng.uniform(0.5, 1, len(labels)) - 0.2 * wrong * rng.random(len(labels))
    return np.where(wrong, other, labels), scores.astype(np.float32)


def build_head(
    name: str,
    names: Sequence[str],
    rows: RowColumns,
    predicted: IntArray,
    scores: Array,
    *,
    with_maps: bool,
) -> HeadPart:
    """Build what the report says of a head whose predictions are made up."""
    labels, val = rows.labels, np.flatnonzero(rows.splits == 1)
    codes = np.array([f"{code:04}" for code in range(len(names))])
    found = score_predictions(codes[labels[val]], codes[predicted[val]], classes=codes)
    found = rename(found, names)
    wrong = val[predicted[val] != labels[val]]
    wrong = wrong[np.argsort(-scores[wrong], kind="stable")]
    unsure = val[np.argsort(scores[val], kind="stable")][:12]
    pairs: dict[tuple[int, int], list[int]] = {}
    for row in val[np.argsort(-scores[val], kind="stable")].tolist():
        pairs.setdefault((int(labels[row]), int(predicted[row])), []).append(row)
    cells = [
        ConfusionCell(true=true, predicted=said, n_rows=len(of), rows=np.array(of[:24]))
        for (true, said), of in pairs.items()
    ]
    is_matrix = len(names) <= MAX_MATRIX
    if not is_matrix:
        cells = [cell for cell in cells if cell.true != cell.predicted]
        cells = sorted(cells, key=lambda cell: -cell.n_rows)[:50]

    def show(row: int) -> ShownRow:
        true, said = names[labels[row]], names[predicted[row]]
        shown = (said,) if true == said else (said, true)
        maps = [(one, draw_thumbnail(n + 3, 0, 64)) for n, one in enumerate(shown)]
        return ShownRow(
            row=row,
            true=true,
            predicted=said,
            score=float(scores[row]),
            true_score=float(1 - scores[row]) if true != said else float(scores[row]),
            maps=maps if with_maps else (),
        )

    asked = rows.splits == 1
    return HeadPart(
        name=name,
        facts=[("Kind", "logistic"), ("Fitted on", f"{len(labels) - len(val)} rows of train")],
        split="val",
        scores=found,
        held_out=(0.91, 0.85, 0.95),
        notes=["3 rows of val were left out: they have no label."],
        classes=names,
        cells=cells,
        is_matrix=is_matrix,
        mistakes=[show(row) for row in wrong[:24].tolist()],
        n_mistakes=len(wrong),
        unsure=[show(row) for row in unsure.tolist()],
        map_note="The class maps are exact." if with_maps else "No class maps: not linear.",
        calibration=measure_calibration(
            predicted[val] == labels[val], scores[val].astype(np.float64)
        ),
        predicted=np.where(asked, predicted, -1),
        predicted_scores=np.where(asked, scores, np.nan).astype(np.float32),
    )


def rename(scores: Any, names: Sequence[str]) -> Any:
    """Give classes their names, which must not be sorted or told apart before."""
    fields = scores.to_dict()
    fields["classes"] = tuple(names)
    for one, name in zip(fields["per_class"], names, strict=True):
        one["label"] = name
    return type(scores).from_dict(fields)


def build_curve(n_classes: int) -> LearningCurve:
    """Build a learning curve that rises."""
    points = [
        CurvePoint(rows_per_class=5.0 * 2**n, accuracy=0.6 + 0.08 * n, accuracy_ci95=(a, a + 0.1))
        for n, a in enumerate((0.54, 0.63, 0.71, 0.79))
    ]
    return LearningCurve(
        points=tuple(points),
        n_rows=100 * n_classes,
        majority_accuracy=1 / n_classes,
        balanced_ci95=(0.78, 0.9),
        n_classes=n_classes,
    )


def build_epoch(number: int) -> Epoch:
    """Build a line of a log of fine-tuning; the fitted head comes first."""
    return Epoch(
        epoch=number,
        train_loss=float("nan") if number == 0 else 0.5 / number,
        holdout_loss=0.4 / (number + 1) + 0.02 * number,
        holdout_accuracy=0.8 + 0.02 * number - (0.05 if number == 5 else 0),
        holdout_balanced_accuracy=0.79 + 0.02 * number,
        lr=1e-3 / (number + 1),
        seconds=2.5,
        images_per_s=120.0,
    )


@functools.cache
def draw_thumbnail(code: int, number: int, side: int) -> str:
    """Draw an image that tells its class by its colour, and its number by a circle."""
    image = Image.new("RGB", (side, side), ((60 * code) % 256, (90 * code + 80) % 256, 150))
    at = side * (1 + number % 5) // 8
    ImageDraw.Draw(image).ellipse((at, at, at + side // 3, at + side // 3), fill="white")
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=60)  # a JPEG has 600 bytes before its first pixel
    return "data:image/webp;base64," + b64encode(stream.getvalue()).decode()


def build_small() -> ReportContents:
    """Two classes, two heads with class maps."""
    return build_contents()


def build_ten() -> ReportContents:
    """Ten classes, one head."""
    names = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    return build_contents(names, n_per_class=60, accuracies=[0.75])


def build_large() -> ReportContents:
    """A thousand classes of ten rows each, one head without class maps."""
    names = [f"class {number:04}" for number in range(1000)]
    return build_contents(names, n_per_class=10, accuracies=[0.7], with_maps=False, side=24)


def build_awkward() -> ReportContents:
    """Names that try to break out of the page."""
    return build_contents(AWKWARD, n_per_class=9)


def build_unscored() -> ReportContents:
    """Rows without a label, a head that cannot be scored, and one for numbers."""
    contents = build_contents(accuracies=[0.8])
    rows = replace(contents.rows, labels=np.full(len(contents.rows.ids), -1))
    (head,) = contents.heads
    counts = np.zeros_like(contents.counts)
    counts[-1, 0] = len(rows.ids)
    target = TargetPart(
        name="price.joblib",
        facts=[("Predicts", "the number price")],
        split="val",
        scores=[("Mean absolute error", "1.50")],
        columns=["class", "precision"],
        lines=[["<b>", "0.5"]],
        notes=["2 rows have no number."],
    )
    return replace(
        contents,
        rows=rows,
        counts=counts,
        samples={2: [0, 1]},
        images_note="1 image is gone.",
        heads=[
            replace(
                head,
                scores=None,
                cells=[],
                mistakes=[],
                unsure=[],
                n_mistakes=0,
                calibration=None,
                notes=["No row has a label."],
            )
        ],
        targets=[target],
    )


def build_empty() -> ReportContents:
    """No head, no map, no images: all that a cache of two unlabelled rows can tell."""
    rows = RowColumns(
        ids=["a.jpg", "b.jpg"],
        labels=np.array([-1, -1]),
        splits=np.array([-1, -1]),
        thumbnails=[None, None],
    )
    return ReportContents(
        title="two.h5",
        summary=["2 rows without a label."],
        next_steps=[],
        classes=[],
        splits=[],
        counts=np.array([[2]]),
        samples={},
        rows=rows,
        images_note="",
        failures=[],
        n_failures=0,
        findings=[],
        points=None,
        heads=[],
        targets=[],
        pairs=[],
        curve=None,
        curve_note="No learning curve: no row has a label.",
        tuning=[],
        tuning_note="",
        provenance=[],
        commands=[],
    )
