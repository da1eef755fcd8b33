"""Fine-tune the top blocks of the backbone of a cache, and compare the result with the head."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Unpack

from featx.backbones.weights import split_key
from featx.cache.joined import open_cache
from featx.cache.lock import CacheLock
from featx.cache.reader import Cache
from featx.core.errors import TuningError
from featx.core.files import check_destination
from featx.core.progress import show_progress, stage
from featx.core.recognise import check_order
from featx.core.signals import explain_end
from featx.core.torch_state import DEFAULT_FLOAT32, plain_torch_thread
from featx.core.typing import CachePaths, PathLike
from featx.embedding.identity import find_decode, restore_backbone
from featx.embedding.options import RunOptions, SharedRunKeywords
from featx.finetune.advise import advise
from featx.finetune.cut import cut_backbone
from featx.finetune.data import TuningData, read_data
from featx.finetune.finished import describe_plan, find_finished
from featx.finetune.paths import TuningPaths
from featx.finetune.plan import (
    TuningNetwork,
    TuningPlan,
    choose_n_blocks,
    choose_train_device,
    plan_tuning,
)
from featx.finetune.recipe import Recipe
from featx.finetune.report import TuningReport
from featx.finetune.request import TuningRequest
from featx.finetune.result import build_linear_layer, write_results
from featx.finetune.space import FreeSpace, measure_space
from featx.finetune.train import Training, TrainingRequest
from featx.finetune.trunk import Features, KeptFeatures, LiveFeatures, TrunkRun
from featx.heads.head import Head


def fine_tune(  # noqa: PLR0913
    source: PathLike | Sequence[PathLike],
    cache: CachePaths,
    output: PathLike,
    *,
    head: PathLike | Head | None = None,
    unfreeze: int | str = "auto",
    embedding: str | None = None,
    split: str | None = None,
    weights: str | None = None,
    recipe: Recipe | None = None,
    trunk: PathLike | None = None,
    max_trunk_gb: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    break_lock: bool = False,
    **run: Unpack[SharedRunKeywords],
) -> TuningReport:
    """Train the top blocks of the backbone of a cache, starting from a fitted head.

    The frozen trunk below the top blocks runs once over every training image. Its output is kept in
    a file, and each epoch runs the top blocks alone. A part of the split train is held out, to
    decide when to stop. In the end, the frozen head and the tuned model are compared on rows that
    neither has seen.

    Parameters
    ----------
    source : path or sequence of paths
        Source that the cache was extracted from.
    cache : path or sequence of paths
        Cache, or several as `featx.open_cache` takes them, with labels, a split ``train``, and a
        split ``val`` or ``test``.
    output : path
        Tuned weights to write, ``.safetensors``. A head (``.joblib``) and the log of epochs
        (``.log.csv``) are written beside them. Unfinished work lies in ``OUTPUT.partial``.
    head : path or Head, optional
        Head to begin with, and to compare with. Default: a head that is fitted on the split train.
    unfreeze : int or "auto"
        Number of blocks to train, counted from the classifier. ``"auto"`` follows `featx.advise`.
    embedding : str, optional
        Name of the embedding, if the cache has several.
    split : str, optional
        Split to compare on. Default: ``val``, or ``test`` if there is no ``val``.
    weights : str, optional
        Current path of the weights of the backbone. Default: the weights that the cache names.
    recipe : Recipe, optional
        Numbers of the training. Default: ``Recipe()``.
    trunk : path, optional
        Cache for the output of the trunk, which the next run reads again. Default: beside the
        output, ``.trunk.h5``.
    max_trunk_gb : float, optional
        Largest size of the output of the trunk in gigabytes; if the output is larger, the trunk is
        run in each epoch instead. Default: half of the free disk for all views, and half of the
        free memory for one.
    resume : bool
        Continue an interrupted run. On a CPU, the result equals the result of an uninterrupted run.
        If the run is finished, nothing is done, and its report is returned again.
    overwrite : bool
        Replace the output, and drop an unfinished run.
    break_lock : bool
        Write even if another process seems to write the output. Pass it only if that process is
        dead.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`. ``batch_size`` is not
        accepted. Training runs on one device, even if the trunk runs on several.

    Returns
    -------
    TuningReport
        Epochs, scores and verdict.

    Raises
    ------
    TuningError
        If the network has fewer blocks, the source is not that of the cache or says something else
        of its images, an unfinished run exists, an option can do nothing, or ``"auto"`` finds that
        fine-tuning is not worth its cost.
    HeadError
        If no single layer of a network equals the head.
    CacheLockedError
        If another process writes the output.
    CacheError, FingerprintError, SourceError, WeightsError, DeviceError
        If the cache, the backbone, the images, the weights or the device cannot be used.

    Warns
    -----
    FeatxWarning
        If the source has images that the cache lacks, if rows were left out or have a class that
        the head does not know, if training changed the kind of the head, and where a resumed run
        goes on.

    See Also
    --------
    advise : Predicts whether fine-tuning is worth its cost.
    Recipe : Numbers of the training.

    Examples
    --------
    >>> report = featx.fine_tune(
    ...     "photos",
    ...     "photos.h5",
    ...     "tuned.safetensors",
    ...     unfreeze=1,
    ...     recipe=featx.Recipe(epochs=1),
    ...     progress=False,
    ... )
    >>> report.blocks, report.scores.n_rows
    (('top',), 4)
    >>> report.verdict
    'Tuning did not help for certain: +0.0 points of accuracy on 4 val images ...'
    """
    check_order(
        ("source", "cache"),
        (source, cache),
        content="cache",
        is_first=False,
        call="featx.fine_tune({rest!r}, cache={held!r}, output='{output}')",
        output=str(output),
    )
    if trunk is not None and max_trunk_gb == 0:
        raise TuningError(
            subject="trunk",
            expected="a limit max_trunk_gb above 0, because 0 keeps no output of the trunk",
            got=str(trunk),
            remedy="Leave trunk out, or pass a larger max_trunk_gb.",
        )
    request = TuningRequest(
        source=source,
        paths=TuningPaths.build(output, trunk),
        head=head,
        unfreeze=unfreeze,
        embedding=embedding,
        split=split,
        weights=weights,
        recipe=recipe or Recipe(),
        max_trunk_bytes=None if max_trunk_gb is None else round(max_trunk_gb * 1e9),
        options=RunOptions(**run, batch_size="auto"),
        resume=resume,
        overwrite=overwrite,
        break_lock=break_lock,
    )
    device = choose_train_device(request.options.device, request.recipe)
    check_destination(request.paths.output, overwrite=True, error=TuningError)
    with (
        show_progress(request.options.progress),
        explain_end(request.paths.describe_kept),
        plain_torch_thread(),
        DEFAULT_FLOAT32,
        CacheLock(request.paths.output, break_lock=break_lock),
        open_cache(cache) as opened,
    ):
        request.check_paths(opened)
        return _tune(request, opened, device)


def _tune(request: TuningRequest, cache: Cache, device: str) -> TuningReport:
    """Open, plan, fill the trunk, train, write, compare, report."""
    with stage("reading the data"):
        data = read_data(cache, request)
    network = open_network(request, cache, data)
    limit: int | FreeSpace | None = request.max_trunk_bytes
    if limit is None:
        limit = measure_space(network.run, request.paths.trunk, request.recipe.views)
    plan = plan_tuning(request, data, network, device=device, limit=limit)
    if request.resume:
        finished = find_finished(
            request.paths,
            describe_plan(plan.identity, data),
            advice=network.advice,
            overwrite=request.overwrite,
        )
        if finished is not None:
            return finished
    training = build_training(request, data, network, plan)  # refuses before the trunk is run
    start = time.perf_counter()
    if isinstance(training.request.features, KeptFeatures):
        training.request.features.fill(break_lock=request.break_lock)
    filled = time.perf_counter()
    train(training, request, data)
    seconds = {"trunk_s": filled - start, "train_s": time.perf_counter() - filled}
    return write_results(request, data, network, plan=plan, training=training, seconds=seconds)


def open_network(request: TuningRequest, cache: Cache, data: TuningData) -> TuningNetwork:
    """Load the backbone of an embedding, and cut it where the user or the advice says.

    Parameters
    ----------
    request : TuningRequest
        The request of the user.
    cache : Cache
        The open cache.
    data : TuningData
        The data to learn from.

    Returns
    -------
    TuningNetwork
        The backbone, cut in two.

    Raises
    ------
    TuningError
        If the advice is to stay frozen, the network cannot be cut there, or its weights would be
        replaced.
    FingerprintError, WeightsError
        If the weights differ from those of the cache, or cannot be found.
    """
    advice = None
    if request.unfreeze == "auto":
        with stage("estimating what fine-tuning would gain"):
            advice = advise(cache, embedding=data.embedding, seed=request.recipe.seed)
    n_blocks = choose_n_blocks(request.unfreeze, advice, str(cache.path))
    info = cache.get_info(data.embedding)
    backbone = restore_backbone(
        info.fingerprint, info.provenance.origin, subject=str(cache.path), weights=request.weights
    )
    request.paths.check_apart([split_key(backbone.origin.weights)[0]])
    cut = cut_backbone(backbone, n_blocks)
    run = TrunkRun(
        trunk=cut.trunk,
        source=cache.source,
        entries=data.entries,
        digests=tuple(data.train.digests.tolist()),
        options=request.options,
        precision=info.fingerprint.precision,
        decode=find_decode(info.fingerprint),
        seed=request.recipe.seed,
    )
    return TuningNetwork(backbone=backbone, cut=cut, run=run, advice=advice)


def build_training(
    request: TuningRequest, data: TuningData, network: TuningNetwork, plan: TuningPlan
) -> Training:
    """Build the training that begins with the head.

    Parameters
    ----------
    request : TuningRequest
        The request of the user.
    data : TuningData
        The data to learn from.
    network : TuningNetwork
        The backbone, cut in two.
    plan : TuningPlan
        The decisions.

    Returns
    -------
    Training
        A training without any step; the output of its trunk may still be missing.

    Raises
    ------
    TuningError
        If BatchNorm layers are to learn, but none can.
    """
    features: Features = LiveFeatures(network.run)
    if plan.trunk_path is not None:
        features = KeptFeatures(network.run, plan.trunk_path, request.recipe.views)
    return Training(
        TrainingRequest(
            cut=network.cut,
            classifier=build_linear_layer(data.start),
            features=features,
            examples=data.examples,
            identity=plan.identity,
            device=plan.device,
            folder=request.paths.folder,
        )
    )


def train(training: Training, request: TuningRequest, data: TuningData) -> None:
    """Train, and keep the best weights, or the head itself if no epoch was surely better.

    Parameters
    ----------
    training : Training
        The training.
    request : TuningRequest
        The request of the user.
    data : TuningData
        The data to learn from.

    Raises
    ------
    TuningError, DeviceError
        If the checkpoint belongs to another training or cannot be written, or memory is too small.
    """
    request.paths.folder.mkdir(exist_ok=True)
    try:
        training.run(resume=request.resume, progress=request.options.progress)
    finally:
        if isinstance(training.request.features, LiveFeatures):
            training.request.features.close()
    if training.best_epoch == 0:  # training began with a head that was fitted without the holdout
        whole = build_linear_layer(data.head.estimator, temperature=data.head.temperature)
        training.request.classifier.load_state_dict(whole.state_dict())
