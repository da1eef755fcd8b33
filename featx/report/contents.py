"""The contents of a report, as plain values: `report.collect` finds them, a template shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featx.core.typing import Array, Float32Array, IntArray
from featx.finetune.log import Epoch
from featx.fitting.learning_curve import LearningCurve
from featx.heads.calibration_curve import CalibrationCurve
from featx.heads.compare import PairedScores
from featx.heads.evaluate import Evaluation


@dataclass(frozen=True, kw_only=True)
class RowColumns:
    """What the page says of rows: one value per row that it shows anywhere.

    Attributes
    ----------
    ids : sequence of str
        ``(n_shown,)``.
    labels, splits : ndarray of int
        ``(n_shown,)``, positions in `ReportContents.classes` and `ReportContents.splits`; -1 for
        none.
    thumbnails : sequence of str or None
        ``(n_shown,)``, data URI of each row's image; None for an image that is not shown. The
        page holds each of them once; all together must stay below its 10 MB.
    """

    ids: Sequence[str]
    labels: IntArray
    splits: IntArray
    thumbnails: Sequence[str | None]


@dataclass(frozen=True, kw_only=True)
class MapPoints:
    """A map of rows in two dimensions.

    Attributes
    ----------
    method : {"pca", "tsne", "umap"}
        How the rows were arranged.
    text : str
        Sentence that says what near and far mean on it, and how many rows of how many it shows.
    rows : ndarray of int
        ``(n_points,)``, positions in the `RowColumns`.
    xy : ndarray of float32
        ``(n_points, 2)``, each axis from 0 to 1, y upwards.
    """

    method: str
    text: str
    rows: IntArray
    xy: Float32Array


@dataclass(frozen=True, kw_only=True)
class ConfusionCell:
    """Rows of one class that a head predicts as one class.

    Attributes
    ----------
    true, predicted : int
        Positions in `HeadPart.classes`.
    n_rows : int
        Number of rows.
    rows : ndarray of int
        Positions in the `RowColumns` of some of them, the most confident first.
    """

    true: int
    predicted: int
    n_rows: int
    rows: IntArray


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """A row with what a head says of it, and where it looked.

    Attributes
    ----------
    row : int
        Position in the `RowColumns`.
    true : str
        Label of the row.
    predicted : str
        Class that the head predicts.
    score, true_score : float or None
        Probabilities of the predicted class and of the label.
    maps : sequence of (str, str)
        Class and data URI of each class map that lies over the image: that of the predicted class,
        then that of the label, if it is another one. Empty without class maps.
    """

    row: int
    true: str
    predicted: str
    score: float | None
    true_score: float | None
    maps: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class HeadPart:
    """What the report says of one head.

    Attributes
    ----------
    name : str
        Name that tells the heads of the report apart.
    facts : sequence of (str, str)
        Kind, embedding, number of rows fitted on, strength and more.
    split : str
        Rows that were scored, such as "val", or "train, held out in 5 folds".
    scores : Evaluation or None
        Scores of these rows; rows that the head has learnt from are not among them. None if no row
        can be scored: `notes` say why.
    held_out : tuple of (float, float, float) or None
        Held-out accuracy of the rows that were fitted on, with the ends of its 95 % interval.
    notes : sequence of str
        Sentences about rows that were left out, seen before, or of classes that the head does not
        know.
    classes : sequence of str
        Classes of the confusion matrix.
    cells : sequence of ConfusionCell
        Cells of the confusion matrix that have rows: all for few classes; else the worst pairs
        alone, worst first.
    is_matrix : bool
        Whether `cells` are all cells, so that they are shown as a matrix.
    mistakes : sequence of ShownRow
        Rows that the head is most sure of and wrong, the most confident first.
    n_mistakes : int
        Number of all rows that are predicted wrongly.
    unsure : sequence of ShownRow
        Rows with the least probable prediction, right or wrong.
    map_note : str
        Sentence about class maps: that they are exact, an approximation, or why there are none.
    calibration : CalibrationCurve or None
        Share of right predictions by score; None without probabilities.
    predicted : ndarray of int
        ``(n_shown,)``, class that the head predicts for each of the `RowColumns`, as its position
        in `classes`; -1 for a row that the head was not asked about, or was fitted on.
    predicted_scores : ndarray of float32
        ``(n_shown,)``, probability of that class; NaN without one.
    """

    name: str
    facts: Sequence[tuple[str, str]]
    split: str
    scores: Evaluation | None
    held_out: tuple[float, float, float] | None
    notes: Sequence[str]
    classes: Sequence[str]
    cells: Sequence[ConfusionCell]
    is_matrix: bool
    mistakes: Sequence[ShownRow]
    n_mistakes: int
    unsure: Sequence[ShownRow]
    map_note: str
    calibration: CalibrationCurve | None
    predicted: IntArray
    predicted_scores: Float32Array


@dataclass(frozen=True, kw_only=True)
class TargetPart:
    """What the report says of a head for several classes per image, or for a number.

    Attributes
    ----------
    name : str
        Name that tells the heads of the report apart.
    facts : sequence of (str, str)
        What it predicts, its kind, embedding, number of rows fitted on, and more.
    split : str
        Split that was scored.
    scores : sequence of (str, str)
        Names of the scores, and their values with intervals and with what costs nothing.
    columns : sequence of str
        Columns of the table of classes; none for a number.
    lines : sequence of sequence of str
        Lines of this table.
    notes : sequence of str
        Sentences about rows that were left out, or why nothing was scored.
    """

    name: str
    facts: Sequence[tuple[str, str]]
    split: str
    scores: Sequence[tuple[str, str]]
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]
    notes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class HeadPair:
    """Two heads on the same rows.

    Attributes
    ----------
    first, second : str
        Names of the heads.
    scores : PairedScores
        The comparison.
    verdict : str
        What it says, or that it cannot tell.
    """

    first: str
    second: str
    scores: PairedScores
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One part of the audit.

    Attributes
    ----------
    title, text : str
        Heading, and sentences.
    cards : sequence of (sequence of int, sequence of str)
        Positions in the `RowColumns` of the images of each card, and its caption.
    """

    title: str
    text: str
    cards: Sequence[tuple[Sequence[int], Sequence[str]]] = ()


@dataclass(frozen=True, kw_only=True)
class ReportContents:
    """The contents of a report.

    Attributes
    ----------
    title : str
        Title of the page.
    summary : sequence of str
        The few sentences that matter most, such as accuracies with their intervals.
    next_steps : sequence of (str, str)
        What to do next: a sentence, and the command that does it; the command may be empty.
    classes, splits : sequence of str
        Names of the classes and of the splits.
    counts : ndarray of int
        ``(n_classes + 1, n_splits + 1)``, rows by class (last: no label) and split (last: none).
    samples : mapping of int to sequence of int
        Positions in the `RowColumns` of a few rows of each class, by its position in `classes`; of
        rows without a label, by the number of classes. Of many classes, some have none.
    rows : RowColumns
        The rows that any part shows.
    images_note : str
        Sentence about rows whose image is not shown, and why; empty if all are.
    failures : sequence of (str, str)
        Ids of images that could not be read, with the reason.
    n_failures : int
        Number of all of them.
    findings : sequence of Finding
        What the audit found; empty if it was not asked for.
    points : MapPoints or None
        Map of the embeddings; None if no row has a vector.
    heads : sequence of HeadPart
        The heads for one class per image; may be empty.
    targets : sequence of TargetPart
        The other heads; mostly none.
    pairs : sequence of HeadPair
        Comparisons of two heads.
    curve : LearningCurve or None
        Accuracy by the number of rows that were fitted on.
    curve_note : str
        What the curve says of more labels, or why there is none.
    tuning : sequence of Epoch
        Log of the fine-tuning that made the weights of the embedding; empty if there was none, or
        if it cannot be found.
    tuning_note : str
        What was tuned, and the epoch whose weights were kept.
    provenance : sequence of (str, str)
        Names and values: source, backbone, weights, preprocessing, versions, time.
    commands : sequence of (str, str)
        Commands that make all of this again, each with what it does.
    """

    title: str
    summary: Sequence[str]
    next_steps: Sequence[tuple[str, str]]
    classes: Sequence[str]
    splits: Sequence[str]
    counts: Array
    samples: Mapping[int, Sequence[int]]
    rows: RowColumns
    images_note: str
    failures: Sequence[tuple[str, str]]
    n_failures: int
    findings: Sequence[Finding]
    points: MapPoints | None
    heads: Sequence[HeadPart]
    targets: Sequence[TargetPart]
    pairs: Sequence[HeadPair]
    curve: LearningCurve | None
    curve_note: str
    tuning: Sequence[Epoch]
    tuning_note: str
    provenance: Sequence[tuple[str, str]]
    commands: Sequence[tuple[str, str]]
