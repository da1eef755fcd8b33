"""How far embeddings of each engine, precision and way to decode are from eager fp32 PyTorch.

Run it with ``python benchmarks/drift.py``. Every photo of hymenoptera goes through the
network as PyTorch runs it, layer by layer in float32, and through featx in every way that this
machine offers; told are the smallest and the median cosine between the two embeddings of one photo,
and the accuracy on the val photos of a head fitted on the train photos.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

# Run as a script, its folder's parent is not on the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from typing import get_args

from shared import build_parser, check_there

import featx
from featx.core.similarity import compute_cosines
from featx.core.typing import Decode
from featx.doctor.diagnose import list_engines
from featx.engines.choose import list_precisions
from featx.images.decode import decode_image


def embed_eagerly(backbone: featx.Backbone, paths: list[str]) -> dict[str, np.ndarray]:
    """Embed without any engine: float32 ``(dim,)`` per path."""
    vectors = {}
    with torch.inference_mode():
        for path in paths:
            pixels = backbone.preprocess.prepare(decode_image(Path(path).read_bytes()))
            batch = backbone.preprocess.normalise(torch.from_numpy(pixels[None].copy()))
            vectors[path] = backbone.module(batch)[0][0].numpy()
    return vectors


def main() -> None:
    """Print a line for each backbone, engine, precision and way to decode."""
    parser = build_parser(__doc__)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    photos = check_there(options.data / "data" / "hymenoptera_data")
    weights = check_there(options.data / "weights")
    backbones = {
        "mobilenet_v2": str(weights / "mobilenet_v2-imagenet-backbone.pth"),
        "squeezenet1_1": str(weights / "squeezenet1_1-imagenet.pth"),
        "mini": "DEFAULT",
        "resnet50": "random:0",
    }
    print("| backbone | engine | precision | decode | smallest cosine | median | val accuracy |")
    print("|---|---|---|---|---|---|---|")
    for name, given in backbones.items():
        backbone = featx.load_backbone(name, weights=given)
        expected: dict[str, np.ndarray] = {}
        ways = [
            (engine, precision, decode)
            for engine in list_engines(options.device)
            for precision in list_precisions(engine, options.device)
            for decode in get_args(Decode)
            if engine == "openvino" or decode == "exact"
        ]
        for engine, precision, decode in ways:
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder) / "photos.h5"
                featx.extract(
                    photos, output, backbone=backbone, engine=engine, precision=precision,
                    decode=decode, device=options.device, progress=False,
                )  # fmt: skip
                head = featx.fit_head(output)
                accuracy = featx.evaluate(head, output, split="val").accuracy
                with featx.open_cache(output) as cache:
                    paths, got = cache.paths.tolist(), cache.read_vectors()
            expected = expected or embed_eagerly(backbone, paths)
            cosines = compute_cosines(np.stack([expected[path] for path in paths]), got)
            print(
                f"| {name} | {engine} | {precision} | {decode} | {cosines.min():.7f} "
                f"| {np.median(cosines):.7f} | {accuracy:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
