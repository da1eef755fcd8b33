"""The fine-tuning behind an embedding: find its epochs in the metadata of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from featx.backbones.fetch import find_moved
from featx.backbones.metadata import WeightsMetadata, read_metadata
from featx.backbones.weights import FILE_SUFFIXES, split_key
from featx.cache.reader import Cache
from featx.core.errors import FeatxError
from featx.embedding.identity import restore_backbone
from featx.finetune.log import Epoch


@dataclass(frozen=True, kw_only=True)
class TuningHistory:
    """The epochs of the fine-tuning that made the weights of an embedding.

    Attributes
    ----------
    path : Path
        Present path of the weights.
    blocks : tuple of str
        Names of the blocks that were trained, the one nearest to the classifier first.
    optimizer : str
        Rule that turned gradients into steps.
    n_train, n_holdout : int
        Number of images to learn from, and number of images in the holdout.
    epochs : tuple of Epoch
        Epochs in their order; epoch 0 is the fitted head.
    best_epoch : int
        Number of the epoch whose weights were kept; 0 if the network is unchanged.
    stopped : str
        Sentence that says why training ended before its last epoch; empty if all epochs were run.

    See Also
    --------
    find_tuning_history : Finds it.
    """

    path: Path
    blocks: tuple[str, ...]
    optimizer: str
    n_train: int
    n_holdout: int
    epochs: tuple[Epoch, ...]
    best_epoch: int
    stopped: str

    def describe(self) -> str:
        """Say in sentences what was trained, on how many images, and which epoch was kept."""
        n_blocks = len(self.blocks)
        blocks = f"block {self.blocks[0]}" if n_blocks == 1 else f"{n_blocks} blocks"
        last = self.epochs[-1].epoch
        kept = (
            f"the weights of epoch {self.best_epoch} of {last} were kept"
            if self.best_epoch
            else f"none of {last} epochs was better than the head for certain, so that the network "
            "is unchanged"
        )
        stopped = f" Training ended early: {self.stopped}." if self.stopped else ""
        return (
            f"{self.path.name}: {self.optimizer} trained {blocks} on {self.n_train:,} images, with "
            f"{self.n_holdout:,} held out; {kept}.{stopped}"
        )


def find_tuning_history(
    cache: Cache, embedding: str | None = None, *, weights: str | None = None
) -> tuple[TuningHistory | None, str]:
    """Find the epochs of the fine-tuning that made the weights of an embedding.

    The weights carry them in their metadata, so that the log of epochs need not be there.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embedding : str, optional
        Name of the embedding, if the cache has several.
    weights : str, optional
        Current path of the weights. Default: the weights that the cache names, or the file of the
        same name in the folder FEATX_WEIGHTS_DIR if they are no longer there.

    Returns
    -------
    history : TuningHistory or None
        None if the weights were not fine-tuned by featx, or are not there any more.
    reason : str
        Sentence without a full stop that says why there is none; empty if there is one.

    Raises
    ------
    CacheError
        If the cache has no such embedding, or several and none is named.
    """
    info = cache.get_info(embedding)
    if info.fingerprint.is_imported:
        return None, "another program computed the embeddings"
    origin = info.provenance.origin
    word = weights or find_moved(origin.weights) or origin.weights
    path = Path(split_key(word)[0]).expanduser()
    if not path.is_file():
        if path.suffix not in FILE_SUFFIXES:
            return None, f"the weights {word} were not fine-tuned"
        return None, (
            f"the weights {word} are not there any more, and only they tell whether they were "
            "fine-tuned: pass weights=FILE with their present path"
        )
    try:
        metadata = read_metadata(path)
        if metadata is None:
            return None, f"featx did not fine-tune the weights {path.name}"
        restore_backbone(info.fingerprint, origin, subject=str(cache.path), weights=word)
        return _build_history(path, metadata), ""
    except FeatxError as error:
        return None, str(error).removesuffix(".")
    except (AttributeError, KeyError, TypeError, ValueError):
        return None, f"{path}: the metadata do not tell the epochs"


def _build_history(path: Path, metadata: WeightsMetadata) -> TuningHistory:
    epochs = tuple(Epoch.from_record(epoch) for epoch in metadata.report["history"])
    if not 0 <= metadata.best_epoch < len(epochs):
        raise ValueError("an epoch that was kept, but is not in the history")
    return TuningHistory(
        path=path,
        blocks=metadata.blocks,
        optimizer=str(metadata.recipe["optimizer"]),
        n_train=metadata.n_train,
        n_holdout=metadata.n_holdout,
        epochs=epochs,
        best_epoch=metadata.best_epoch,
        stopped=metadata.stopped,
    )
