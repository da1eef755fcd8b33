"""Compare heads on the same rows, and kinds of heads and embeddings on the same folds."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from featx.cache.reader import Cache
from featx.cache.side_by_side import Names, read_joined, read_learnt_by
from featx.core.errors import HeadError, suggest
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.recognise import check_order
from featx.core.typing import IntArray, Scaling, check_choice
from featx.fitting.common_rows import choose_common, choose_unseen, list_all_names
from featx.fitting.comparable import choose_embeddings, find_comparable
from featx.fitting.evaluate import choose_evaluated
from featx.fitting.inputs import (
    CacheLike,
    HeadLike,
    check_known,
    check_labels,
    check_several_units,
    opened_cache,
    read_class_head,
)
from featx.fitting.memory import check_memory, count_fit_bytes
from featx.fitting.same_vectors import digest_rows, find_all_units, find_units_of
from featx.fitting.scored_rows import predict_rows
from featx.heads.candidates import Candidate, HeadComparison, compare_candidates
from featx.heads.class_weights import ClassWeight, check_class_weight
from featx.heads.classifier import HeadClassifier
from featx.heads.head import Head
from featx.heads.kinds import choose_measure, get_kind, list_kinds
from featx.heads.search import Search
from featx.heads.side_by_side import prepare_rows
from featx.heads.splits import check_seed
from featx.heads.units import spread_over_units


def compare_heads(
    heads: Sequence[HeadLike] | Mapping[str, HeadLike],
    cache: CacheLike,
    *,
    split: str | None = None,
    seed: int = 0,
) -> HeadComparison:
    """Compare heads on the same labelled rows of a cache.

    Each head reads the embedding that it can take. Rows that lack a vector for one of the heads, or
    that one of the heads or its network has learnt from, are left out for all.

    Parameters
    ----------
    heads : sequence of paths or Heads, or mapping of str to path or Head
        Heads to compare; a mapping names them.
    cache : path, sequence of paths or Cache
        Cache with labels, or several caches as `featx.open_cache` takes them.
    split : str, optional
        Rows to compare on: ``"train"``, ``"val"``, ``"test"`` or ``"all"``. Default: ``"val"``, or
        ``"test"`` if the cache has no val rows.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    HeadComparison
        Scores of the heads and of a control, which always predicts the most frequent class. The
        balanced accuracy is compared if a head has class weights, otherwise the accuracy.

    Warns
    -----
    FeatxWarning
        If rows were left out.

    Raises
    ------
    FingerprintError
        If a head can take none of the embeddings.
    CacheError
        If the cache has no such split, or no rows to compare on.
    HeadError
        If no head is given, or a head cannot be read or knows no class of the rows.

    See Also
    --------
    featx.compare_kinds : Compare kinds of heads without a split.
    featx.evaluate : Score one head in detail.

    Examples
    --------
    >>> import featx
    >>> found = featx.compare_heads(["head.joblib"], "photos.h5")
    >>> [one.name for one in found.candidates]
    ['head.joblib', 'always ants']
    """
    check_seed(seed)
    if isinstance(heads, str | Path | Head):
        heads = [heads]
    named = dict(heads) if isinstance(heads, Mapping) else name_heads(heads)
    if not named:
        raise HeadError(
            subject="heads",
            expected="at least one head",
            got="none",
            remedy="Pass the paths of heads that featx.fit_head wrote.",
        )
    for given in named.values():
        check_order(
            ("heads", "cache"),
            (given, cache),
            content="head",
            call="featx.compare_heads([{held!r}], cache={rest!r})",
        )
    read = {name: read_class_head(head) for name, head in named.items()}
    with opened_cache(cache) as opened:
        split = split or choose_evaluated(opened)
        embeddings = {name: find_comparable(opened, head) for name, head in read.items()}
        rows, n_left_out, n_related = choose_unseen(opened, read, embeddings, split)
        candidates = []
        for name, head in read.items():
            check_known(opened.labels[rows], head.classes, subject=f"{opened.path}, split {split}")
            predicted, probabilities = predict_rows(head, opened, embeddings[name], rows)
            candidates.append(
                Candidate(
                    name=name,
                    predicted=predicted,
                    classes=head.classes,
                    probabilities=probabilities,
                    params=head.params,
                )
            )
        y = opened.labels[rows]
        units = find_units_of(opened, rows, list_all_names(embeddings))
    weighs = any(head.measure == "balanced_accuracy" for head in read.values())
    found = compare_candidates(
        y,
        candidates,
        measure="balanced_accuracy" if weighs else "accuracy",
        units=units,
        seed=seed,
    )
    return replace(found, split=split, n_left_out=n_left_out, n_related=n_related)


def compare_kinds(  # noqa: PLR0913
    cache: CacheLike,
    *,
    kinds: Sequence[str] | None = None,
    embeddings: str | Sequence[str | Sequence[str]] | None = None,
    split: str | None = None,
    cv: int = 5,
    class_weight: ClassWeight = None,
    scaling: Scaling = "standard",
    seed: int = 0,
    progress: bool | None = None,
) -> HeadComparison:
    """Compare kinds of heads, and embeddings, by cross-validation on the same folds.

    Each kind is fitted on each embedding as `featx.fit_head` does it, and each row is predicted by
    heads that were fitted, and whose strength was chosen, without the row's fold. Rows that lack a
    vector in one of the embeddings are left out for all.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache with labels, or several caches as `featx.open_cache` takes them.
    kinds : sequence of str, optional
        Kinds to compare. Default: all.
    embeddings : str or sequence, optional
        Names of the embeddings to compare. A sequence among them, such as ``["mobilenet_v2",
        "resnet50"]``, is read side by side, and so are names with ``+`` between them. Default: all
        of the cache, each alone.
    split : str, optional
        Rows to compare on: ``"train"``, ``"val"``, ``"test"`` or ``"all"``. Default: ``"train"`` if
        the cache has splits, else all labelled rows.
    cv : int
        Number of folds.
    class_weight : None, "balanced" or dict
        Weights of the classes. If weights are given, balanced accuracies are compared.
    scaling : {"standard", "l2", "none"}
        Scaling of the embeddings, as `featx.fit_head` takes it.
    seed : int
        Seed of the folds and of the bootstrap.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Returns
    -------
    HeadComparison
        Held-out scores of each kind on each embedding, the seconds of its fit, and the scores of a
        control, which always predicts the most frequent class.

    Warns
    -----
    FeatxWarning
        If rows were left out.

    Raises
    ------
    CacheError
        If the cache cannot be read, or has no such split or embedding.
    HeadError
        If the rows are too few for folds, an option is out of its range, or there is not as much
        memory as a fit takes.

    See Also
    --------
    featx.compare_heads : Compare heads that were fitted before, on rows that they have not seen.
    featx.fit_head : Fit a head, also of the kind that does best (``kind="auto"``).

    Examples
    --------
    >>> import featx
    >>> found = featx.compare_kinds("photos.h5", kinds=["logreg", "nearest-mean"], progress=False)
    >>> len(found.candidates), found.candidates[-1].name
    (3, 'always ants')
    """
    check_seed(seed)
    check_class_weight(class_weight)
    check_choice("scaling", scaling, Scaling, error=HeadError)
    chosen = _choose_kinds(kinds)
    candidates: list[Candidate] = []
    with show_progress(progress), opened_cache(cache) as opened:
        split = split or ("train" if opened.list_splits() else "all")
        compared = _choose_embeddings(opened, embeddings)
        names = list_all_names(compared)
        subject = f"{opened.path}, split {split}"
        rows, n_all = choose_common(opened, names, split)
        y = opened.labels[rows]
        check_labels(y, subject=subject)
        _check_memory(
            opened, compared.values(), chosen, n_rows=len(rows), n_classes=len(np.unique(y))
        )
        everyone = find_all_units(opened, rows, digest_rows(opened, names, rows))
        units = None if everyone is None else everyone[rows]
        check_several_units(y, units, subject=subject)
        learnt = spread_over_units(read_learnt_by(opened, names), everyone)[rows]
        for text, taken in compared.items():
            dims = [opened.get_info(name).fingerprint.dim for name in taken]
            X = prepare_rows(read_joined(opened, taken, rows), dims, scaling)
            for kind in chosen:
                start = time.perf_counter()
                classifier = HeadClassifier(
                    kind,
                    cv=cv,
                    class_weight=class_weight,
                    scaling=scaling,
                    random_state=seed,
                    progress=progress,
                ).fit(X, y, units, learnt=learnt)
                search = _get_search(classifier, subject=subject)
                candidates.append(
                    Candidate(
                        name=f"{kind}, {text}" if len(compared) > 1 else kind,
                        predicted=classifier.classes_[search.held_out],
                        classes=classifier.classes_,
                        probabilities=search.held_out_probabilities,
                        params=get_kind(kind).list_params(search.best),
                        seconds=time.perf_counter() - start,
                    )
                )
    scored = np.flatnonzero(search.held_out >= 0)  # the folds of all candidates are the same
    found = compare_candidates(
        y[scored],
        [_select_rows(one, scored) for one in candidates],
        measure=choose_measure(class_weight),
        units=None if units is None else units[scored],
        n_folds=len(search.folds),
        seed=seed,
    )
    n_left_out = n_all - len(scored)
    if len(scored) < len(rows):
        note(
            f"{len(rows) - len(scored):,} of {len(rows):,} rows were learnt from by a network, and "
            "are not scored"
        )
    return replace(found, split=split, n_left_out=n_left_out)


def name_heads(heads: Sequence[HeadLike]) -> dict[str, HeadLike]:
    """Name heads by their files, or by their kinds: as shortly as they differ.

    Parameters
    ----------
    heads : sequence of paths or Heads
        The heads.

    Returns
    -------
    dict of str to path or Head
        The heads by their names.

    Raises
    ------
    HeadError
        If a path is given twice.

    Examples
    --------
    >>> list(name_heads(["a.joblib", "b.joblib"]))
    ['a.joblib', 'b.joblib']
    >>> list(name_heads(["old/head.joblib", "new/head.joblib"]))
    ['old/head.joblib', 'new/head.joblib']
    """
    paths = [head for head in heads if not isinstance(head, Head)]
    texts = [str(path) for path in paths]
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise HeadError(
            subject="heads",
            expected="each head once",
            got=f"{twice} twice",
            remedy="Leave one of them out.",
        )
    ends = [Path(text).name for text in texts]
    names = iter(ends if len(set(ends)) == len(ends) else texts)
    return {
        f"head {number}, {head.kind}" if isinstance(head, Head) else next(names): head
        for number, head in enumerate(heads, start=1)
    }


def _choose_embeddings(
    cache: Cache, embeddings: str | Sequence[Names] | None
) -> dict[str, tuple[str, ...]]:
    """Choose the embeddings to compare, by name; those of one name are read side by side."""
    chosen = {}
    given = [embeddings] if isinstance(embeddings, str) else embeddings or cache.embeddings
    for one in given:
        if isinstance(one, str) and one not in cache.embeddings:  # a name may have a "+", too
            one = one.split("+")
        infos = choose_embeddings(cache, one)
        names = tuple(info.name for info in infos)
        is_taken = len(names) > 1 and "+".join(names) in cache.embeddings
        chosen[(" + " if is_taken else "+").join(names)] = names
    return chosen


def _choose_kinds(kinds: Sequence[str] | None) -> list[str]:
    """Check the kinds to compare; all by default. ``auto`` is a choice among kinds, and none."""
    known = [kind for kind in list_kinds() if kind != "auto"]
    chosen = known if kinds is None else list(dict.fromkeys(kinds))
    unknown = [kind for kind in chosen if kind not in known]
    if unknown or not chosen:
        raise HeadError(
            subject="kinds",
            expected=f"some of {', '.join(known)}",
            got=repr(unknown[0]) if unknown else "none",
            remedy="Leave the option out to compare all kinds."
            if not chosen or unknown == ["auto"]
            else suggest(unknown[0], known),
        )
    return chosen


def _check_memory(
    cache: Cache,
    compared: Collection[tuple[str, ...]],
    kinds: Sequence[str],
    *,
    n_rows: int,
    n_classes: int,
) -> None:
    """Check the memory of the fit that takes most: fits come one after the other."""
    dims = {name: cache.get_info(name).fingerprint.dim for name in cache.embeddings}
    dim = max(sum(dims[name] for name in names) for names in compared)
    most = max(kinds, key=lambda kind: count_fit_bytes(n_rows, dim, n_classes, kind=kind))
    check_memory(n_rows, dim, n_classes, kind=most)


def _get_search(classifier: HeadClassifier, *, subject: str) -> Search:
    """Return the search of a fitted classifier, whose held-out predictions are compared."""
    search = classifier.search_
    if search is not None and classifier.is_held_out_:
        return search
    raise HeadError(
        subject=subject,
        expected="rows enough for folds" if search is None else "rows new to the network",
        got="too few",
        remedy="Label more rows." if search is None else "Compare on a split that it has not seen.",
    )


def _select_rows(candidate: Candidate, rows: IntArray) -> Candidate:
    """Select rows of the predictions."""
    known = candidate.probabilities
    return replace(
        candidate,
        predicted=candidate.predicted[rows],
        probabilities=None if known is None else known[rows],
    )
