"""The data of a fine-tuning: rows of a cache, their images, and the head to begin with.

The decisions are functions of columns; `read_data` reads the columns and the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from featx.backbones.metadata import MAX_LEARNT
from featx.cache.reader import Cache
from featx.core.columns import Texts
from featx.core.errors import TuningError
from featx.core.learnt import Digests, find_learnt, join_digests, shorten_digests
from featx.core.notes import note
from featx.core.typing import Array
from featx.extraction.agreement import compare_source
from featx.finetune.checks import check_agreement, check_labels, check_layer, choose_split
from featx.finetune.holdout import LabelledRows, check_every_class, hold_out
from featx.finetune.request import TuningRequest
from featx.finetune.train import Examples
from featx.fitting.comparable import find_comparable
from featx.fitting.fit import fit_head
from featx.fitting.inputs import (
    check_known,
    describe_unknown,
    read_class_head,
)
from featx.fitting.left_out import note_left_out
from featx.heads.class_weights import weigh_classes
from featx.heads.head import Head
from featx.heads.linear import fold_linear
from featx.heads.units import join_units
from featx.images.entries import Entry, as_columns
from featx.images.manifest import Manifest
from featx.images.sources.read import read_manifest

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class TuningData:
    """The data of a fine-tuning.

    Attributes
    ----------
    embedding : str
        Name of the embedding that the head reads.
    split : str
        Split that the frozen head and the tuned model are compared on.
    head : Head
        The frozen head.
    start : Pipeline
        Estimator that the classifier starts from: that of the head, or an equal one fitted without
        the holdout.
    train : LabelledRows
        Rows of the split train.
    entries : tuple of Entry
        Images of the split train, in the order of its rows.
    examples : Examples
        Rows of the split train to learn from, and rows of the holdout.
    test : LabelledRows
        Rows to compare on, without rows whose image was learnt from.
    test_entries : tuple of Entry
        Images to compare on, in the order of their rows.
    predicted : ndarray of str
        ``(n_test,)``, classes that the frozen head predicts for them.
    class_weights : tuple of float
        Weight of each class in the loss, in the order of the classes of the head; empty if all
        images weigh alike.
    learnt : ndarray of uint64
        ``(n_images,)``, shortened digests of the images that the network had learnt from before.
    """

    embedding: str
    split: str
    head: Head
    start: Pipeline
    train: LabelledRows
    entries: tuple[Entry, ...]
    examples: Examples
    test: LabelledRows
    test_entries: tuple[Entry, ...]
    predicted: Array
    class_weights: tuple[float, ...]
    learnt: Digests

    @property
    def seen(self) -> Digests:
        """Shortened digests of all images that the tuned model learns from, and learnt from."""
        return join_digests([self.head.seen, self.learnt, shorten_digests(self.train.digests)])


def read_data(cache: Cache, request: TuningRequest) -> TuningData:
    """Read labels and splits, find the images, and fit the heads that are missing.

    Parameters
    ----------
    cache : Cache
        The open cache.
    request : TuningRequest
        The request of the user.

    Returns
    -------
    TuningData
        Everything that a network learns from and is compared on.

    Raises
    ------
    TuningError
        If rows are not in the source, or the source says something else of them, if they have
        labels that the head does not know, or are all known to the head or the split train.
    HeadError
        If no single layer of a network equals the head, or it knows no class of the other split.
    """
    subject = str(cache.path)
    split = choose_split(request.split, cache.list_splits(), subject=subject)
    manifest = read_manifest(request.source)
    agreement = compare_source(manifest, cache)
    check_agreement(agreement, manifest, cache)
    head = _open_head(cache, request)
    (embedding,) = find_comparable(cache, head, embedding=request.embedding)
    check_layer(cache.get_info(embedding).fingerprint.layer, f"{subject}, embedding {embedding}")
    train = LabelledRows.read(cache, "train", embedding)
    before = cache.read_learnt_digests(embedding)
    seen = join_digests([head.seen, before, shorten_digests(train.digests)])
    if len(seen) > MAX_LEARNT:  # before hours of training, at whose end it would be found out
        raise TuningError(
            subject=subject,
            expected=f"at most {MAX_LEARNT:,} images to learn from, which the weights remember",
            got=f"{len(seen):,}",
            remedy="Tune on fewer images.",
        )
    test = drop_seen(LabelledRows.read(cache, split, embedding), seen, f"{subject}, split {split}")
    entries, test_entries = (
        find_entries(rows.ids.tolist(), manifest, subject=subject, source=cache.source)
        for rows in (train, test)
    )
    check_labels(train.labels, head.classes, subject)
    check_known(test.labels, head.classes, subject=f"{subject}, split {split}")
    learnt, holdout = hold_out(train, request.recipe.seed, subject)
    start = head.estimator
    n_old = int(find_learnt(train.digests[holdout], before).sum())
    if n_old:
        note(
            f"{n_old:,} of {len(holdout):,} rows of the holdout were learnt from by the network "
            "before: their accuracy is too high, and a bad guide to when training should end"
        )
    if head.find_seen(train.digests[holdout]).any():
        # A head that was fitted on the holdout would look better there than every epoch, and
        # training would stop at once.
        check_every_class(train.labels[learnt], head.classes, subject)
        X = cache.read_vectors(embedding, train.rows[learnt])
        start = head.refit(X, train.labels[learnt])
    codes = np.searchsorted(head.classes, train.labels)
    weights = (
        ()
        if head.class_weight is None
        else weigh_classes(head.class_weight, head.classes, codes[learnt])
    )
    if agreement.n_new:
        note(agreement.describe_new(manifest, cache))
    if request.head is not None:  # otherwise the fit has told it
        note_left_out(cache, "train", embedding)
    note_left_out(cache, split, embedding, unsplit=False)
    if text := describe_unknown(test.labels, head.classes):
        note(text)
    return TuningData(
        embedding=embedding,
        split=split,
        head=head,
        start=start,
        train=train,
        entries=entries,
        examples=Examples(
            train=learnt,
            holdout=holdout,
            y=codes,
            units=join_units(train.groups, train.digests),
        ),
        test=test,
        test_entries=test_entries,
        predicted=head.predict(cache.read_vectors(embedding, test.rows)),
        class_weights=tuple(map(float, weights)),
        learnt=before,
    )


def _open_head(cache: Cache, request: TuningRequest) -> Head:
    """Return the head of the request, or fit one; refuse a head that one layer cannot be."""
    head = request.head
    if head is None:
        head = fit_head(
            cache,
            embedding=request.embedding,
            split="train",
            seed=request.recipe.seed,
            progress=request.options.progress,
        )
    head = read_class_head(head)
    head.get_only_embedding()  # refuse a head of several: one network is tuned
    fold_linear(head.estimator)  # refuse an unfit head before the trunk is run
    return head


def drop_seen(test: LabelledRows, seen: Array, subject: str) -> LabelledRows:
    """Drop the rows whose image a model has learnt from, and tell the user how many.

    Parameters
    ----------
    test : LabelledRows
        Rows to compare on.
    seen : ndarray of uint64
        Shortened digests of the images of the split train, and of those that the head was fitted
        on or its network has learnt from.
    subject : str
        Name of the cache and the split, for the error.

    Returns
    -------
    LabelledRows
        The rows that are left.

    Raises
    ------
    TuningError
        If no row is left.
    """
    left = test.select(~find_learnt(test.digests, seen))
    if 0 < len(left) < len(test):
        note(
            f"{subject}: {len(test) - len(left)} of {len(test)} rows were left out, because the "
            "head or the network has learnt from the same images, or the split train has them"
        )
    if not len(left):
        raise TuningError(
            subject=subject,
            expected="images that neither the head nor the network nor the split train has seen",
            got=f"none of {len(test)}",
            remedy='Fit a head with featx.fit_head(cache, split="train"), or add new images.',
        )
    return left


def find_entries(
    ids: Sequence[str], manifest: Manifest, *, subject: str, source: str
) -> tuple[Entry, ...]:
    """Find the images of rows in the source.

    Parameters
    ----------
    ids : sequence of str
        Identities of the rows.
    manifest : Manifest
        Images of the source.
    subject : str
        Name of the cache, for the error.
    source : str
        Source that the cache was extracted from, for the error.

    Returns
    -------
    tuple of Entry
        One image per row.

    Raises
    ------
    TuningError
        If an image is missing, or if there are no rows.
    """
    places = manifest.find(Texts.from_list(ids))
    missing = [ids[row] for row in np.flatnonzero(places < 0).tolist()]
    if missing or not ids:
        raise TuningError(
            subject=subject,
            expected=f"all of its {len(ids)} rows in the source",
            got=f"{len(missing)} missing, such as {missing[0]}" if missing else "no labelled rows",
            remedy=f"Pass the source that the cache was extracted from: {source}.",
        )
    return tuple(as_columns(manifest.entries)[places])
