"""Images to embeddings as a transformer of scikit-learn, which embeds each image once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from featx.backbones.backbone import Backbone
from featx.backbones.spec import PENULTIMATE
from featx.cache.format import EmbeddingInfo
from featx.core.artifacts import find_store
from featx.core.errors import DecodeError, FeatxError, SourceError
from featx.core.fingerprint import Fingerprint
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.rows import Row
from featx.core.typing import (
    Array,
    Count,
    Decode,
    EngineName,
    Float32Array,
    PathLike,
    Precision,
    StrArray,
    check_choice,
)
from featx.embedding.identity import build_fingerprint, build_provenance
from featx.embedding.kept import KeptVectors
from featx.embedding.named import is_named, load_named
from featx.embedding.options import RunOptions
from featx.embedding.session import EmbeddingSession, open_for_call, refuse_failures
from featx.engines.engine import EngineBuilder
from featx.images.content import Content
from featx.images.decode import decode_image, is_pillow
from featx.images.entries import Entry
from featx.images.large import read_content
from featx.images.sources.arrays import is_array, is_text
from featx.images.sources.inputs import read_images

KEPT_ROWS = 4096
"""Number of vectors after which a long call writes them to disk: a crash costs no more."""

FOLDER = "embedder"
"""Name of the folder in featx's store."""


class ImageEmbedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn images into embeddings: a transformer of scikit-learn, for pipelines.

    Nothing is learnt in `fit`; `transform` embeds images with a frozen network. Each image is
    embedded once: its vector is kept on disk under the SHA-256 of its bytes (of its pixels, if it
    comes without a file) and the fingerprint, for every later call, fold and process.

    Parameters
    ----------
    backbone : str
        A name from `featx.list_backbones`.
    weights : str
        ``DEFAULT``, a name, a file, or ``random:SEED``. Weights are loaded by the first
        `transform`.
    layer : str
        Name of the layer to read.
    size : int, optional
        Number of pixels per side that images are resized to. Default: the size that belongs to the
        weights.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    decode : {"exact", "fast"}
        Way to decode images.
    cache_dir : path or False, optional
        Folder that keeps the vectors, which may be deleted at any time. Default: ``embedder`` in
        the store of featx (environment variable ``FEATX_STORE``). False keeps none.
    engine, device, batch_size, workers, progress
        Options that change the speed, not the result: see `featx.RunOptions`.

    See Also
    --------
    featx.extract : Embed many images into a cache, with their labels; failures are recorded.
    featx.embed : Embed a few images with one call.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(featx.ImageEmbedder("mini"), LogisticRegression())
    >>> model.fit(["ant.jpg", "bee.jpg"], ["ants", "bees"]).predict(["bee.jpg"]).tolist()
    ['bees']
    """

    def __init__(  # noqa: PLR0913
        self,
        backbone: str = "resnet50",
        *,
        weights: str = "DEFAULT",
        layer: str = PENULTIMATE,
        size: int | None = None,
        precision: Precision = "fp32",
        decode: Decode = "exact",
        cache_dir: PathLike | Literal[False] | None = None,
        engine: EngineName | EngineBuilder = "auto",
        device: str = "auto",
        batch_size: Count = "auto",
        workers: Count = "auto",
        progress: bool | None = False,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.layer = layer
        self.size = size
        self.precision = precision
        self.decode = decode
        self.cache_dir = cache_dir
        self.engine = engine
        self.device = device
        self.batch_size = batch_size
        self.workers = workers
        self.progress = progress

    def fit(self, X: Any, y: Any = None) -> ImageEmbedder:  # noqa: ARG002
        """Check the options; nothing is learnt from the images.

        Parameters
        ----------
        X : sequence of images
            Images, which are not read.
        y : object
            Labels, which are not read.

        Returns
        -------
        ImageEmbedder
            The transformer itself.

        Raises
        ------
        FeatxError
            If an option is out of its range.
        """
        self._build_options()
        return self

    def transform(self, X: Any) -> Float32Array:
        """Embed images, or find the vectors that an earlier call has kept.

        Parameters
        ----------
        X : sequence of images, or ndarray
            Paths, PIL images, bytes of image files or arrays ``(height, width, 3)`` of uint8, one
            for each row; or an array of uint8 ``(n, height, width, 3)``; or a column of paths
            ``(n,)`` or ``(n, 1)``, also of a data frame.

        Returns
        -------
        ndarray
            Vectors float32 ``(n, dim)``, in the order given.

        Raises
        ------
        DecodeError
            If an image cannot be embedded. The error names the image; no image is dropped silently.
        SourceError
            If something is no image, or a path is one of several images.
        BackboneError, WeightsError, DeviceError
            If the network cannot be loaded or run.
        """
        options = self._build_options()
        with show_progress(self.progress):
            entries = _read_rows(X)
            backbone = self._load()
            keys = _identify(entries, options)
            made = build_fingerprint(
                backbone, self.layer, precision=self.precision, decode=self.decode
            )
            kept = self._open_kept(made)
            found = kept.find(keys) if kept is not None else {}
            missing = {key: number for number, key in enumerate(keys) if key not in found}
            if missing:
                todo = [_replace_id(entries[number], key) for key, number in missing.items()]
                found |= self._embed(todo, backbone, made, options=options, kept=kept)
        vectors = np.empty((len(keys), made.dim), np.float32)
        for number, key in enumerate(keys):
            vectors[number] = found[key]
        return vectors

    def _embed(
        self,
        entries: Sequence[Entry],
        backbone: Backbone,
        made: Fingerprint,
        *,
        options: RunOptions,
        kept: KeptVectors | None,
    ) -> dict[str, Float32Array]:
        """Embed images by their keys, and keep their vectors."""
        found: dict[str, Float32Array] = {}
        with open_for_call(
            backbone,
            options,
            precision=self.precision,
            decode=self.decode,
            n_images=len(entries),
            is_kept=is_named(backbone),
        ) as session:
            waiting = _Waiting(session, backbone, made, kept)
            try:
                with closing(session.iter_batches(entries)) as batches:
                    for batch in batches:
                        refuse_failures(batch)
                        vectors = batch.vectors.get(self.layer, np.empty((0, made.dim)))
                        for row, vector in zip(batch.rows, vectors, strict=True):
                            found[row.id] = vector
                            waiting.add(row, vector)
            finally:
                waiting.write()  # also what was embedded before an image that fails, or Ctrl-C
        return found

    def get_feature_names_out(self, input_features: Any = None) -> StrArray:  # noqa: ARG002
        """Name the columns of the result: the backbone, and the number of the channel.

        Parameters
        ----------
        input_features : object
            Names of the columns of the input, which are not read.

        Returns
        -------
        ndarray of str
            Names ``(dim,)``, such as ``mini_0``.
        """
        dim = self._load().dims[self.layer]
        return np.array([f"{self.backbone}_{number}" for number in range(dim)], object)

    def _load(self) -> Backbone:
        if not isinstance(self.backbone, str):
            raise FeatxError(
                subject="backbone",
                expected="a name",
                got=type(self.backbone).__name__,
                remedy="Register your network with featx.register_backbone, and pass its name.",
            )
        return load_named(self.backbone, weights=self.weights, layers=[self.layer], size=self.size)

    def _build_options(self) -> RunOptions:
        check_choice("decode", self.decode, Decode, error=DecodeError)
        options = RunOptions(
            engine=self.engine,
            device=self.device,
            batch_size=self.batch_size,
            workers=self.workers,
            progress=self.progress,
        )
        options.check_precision(self.precision)
        return options

    def _open_kept(self, made: Fingerprint) -> KeptVectors | None:
        if self.cache_dir is False:
            return None
        if isinstance(self.cache_dir, bool):
            raise FeatxError(
                subject="cache_dir",
                expected="a folder, None for the store of featx, or False",
                got="True",
                remedy="Leave cache_dir out.",
            )
        try:
            folder = Path(self.cache_dir).expanduser() if self.cache_dir else find_store() / FOLDER
        except OSError as error:
            note(f"embeddings are not kept for the next call: {error}")
            return None
        return KeptVectors(folder / f"{made.backbone}-{made.digest}")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        tags.no_validation = True
        tags.transformer_tags.preserves_dtype = []
        return tags


class _Waiting:
    """Vectors that wait to be written to disk."""

    def __init__(
        self,
        session: EmbeddingSession,
        backbone: Backbone,
        made: Fingerprint,
        kept: KeptVectors | None,
    ) -> None:
        self._session, self._backbone, self._made, self._kept = session, backbone, made, kept
        self._rows: list[Row] = []
        self._vectors: list[Array] = []

    def add(self, row: Row, vector: Array) -> None:
        """Add a vector under the digest of the bytes that it was made of."""
        self._rows.append(replace(row, id=row.digest or row.id))
        self._vectors.append(vector)
        if len(self._rows) >= KEPT_ROWS:
            self.write()

    def write(self) -> None:
        rows, vectors = self._rows, self._vectors
        self._rows, self._vectors = [], []
        if self._kept is None or not rows:
            return
        engine = self._session.engine
        history = build_provenance(self._backbone, engine, "featx.ImageEmbedder")
        info = EmbeddingInfo(
            self._made.backbone, self._made, replace(history, n_embedded=len(rows))
        )
        self._kept.add(rows, np.stack(vectors), info, self._backbone.learnt)


def _replace_id(entry: Entry, key: str) -> Entry:
    """Return an entry with another id."""
    return Entry(replace(entry.row, id=key), entry.content)


def _read_rows(X: Any) -> list[Entry]:
    """Read one image for each row of X."""
    if hasattr(X, "columns"):
        if len(X.columns) != 1:
            raise _refuse(f"a data frame of {len(X.columns)} columns")
        X = np.asarray(X)
    if isinstance(X, str | bytes) or is_pillow(X) or hasattr(X, "read"):
        raise _refuse("one image")
    if not hasattr(X, "__iter__"):
        raise _refuse(type(X).__name__)
    if is_array(X) and is_text(X) and len(X.shape) > 1 and X.shape[1:] != (1,):
        raise _refuse(f"paths of shape {tuple(X.shape)}")
    if is_array(X) and not (isinstance(X, np.ndarray) and X.dtype == object) and not is_text(X):
        if len(X.shape) != 4:
            raise _refuse(f"an array of shape {tuple(X.shape)}")
        return [*read_images(X)]
    images = [*np.asarray(X).reshape(-1)] if is_array(X) else [*X]
    entries = [*read_images(images)]
    if len(entries) != len(images):
        raise _refuse("a path of several images, such as a folder")
    return entries


def _refuse(got: str) -> SourceError:
    return SourceError(
        subject="X",
        expected="a sequence of images, or an array (n, height, width, 3)",
        got=got,
        remedy="Pass a list with one path or image for each row.",
    )


def _identify(entries: Sequence[Entry], options: RunOptions) -> list[str]:
    """Identify each image by the SHA-256 of its bytes; by that of its pixels, if it has no file.

    An image that cannot be read has a key of its own: it fails when it is embedded.
    """

    def identify(numbered: tuple[int, Entry]) -> str:
        number, entry = numbered
        try:
            return _identify_one(entry)
        except (OSError, FeatxError):
            return f"unreadable-{number}"

    with ThreadPoolExecutor(options.n_workers, "featx-identify") as pool:
        return [*pool.map(identify, enumerate(entries))]


def _identify_one(entry: Entry) -> str:
    content = entry.content
    if isinstance(content, Content):
        return read_content(content)[1]
    if isinstance(content.image, bytes):
        return hashlib.sha256(content.image).hexdigest()
    image = decode_image(content.image, entry.row.path)
    digest = hashlib.sha256(f"{image.width} {image.height} ".encode())
    digest.update(image.tobytes())
    return f"pixels-{digest.hexdigest()}"
