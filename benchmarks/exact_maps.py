"""List which networks have exact class maps, and how exact they are on real images.

Each network gets random weights, because most weights are not on every machine; the identity holds
for any. A logistic regression is fitted on the embeddings of the validation images of hymenoptera
themselves, at several C, and each logit of each image is compared with the mean of its map plus the
bias. The last column is the largest difference, relative to the largest logit.

    python benchmarks/exact_maps.py --size 96
    python benchmarks/exact_maps.py mobilenet_v2 resnet50
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import featx
from featx.backbones.averaged import MapNetwork, build_map_network
from featx.core.typing import Array
from featx.explanation.decompose import LogitWeights, decompose
from featx.explanation.runner import build_noise, get_embedder
from featx.heads.matrix import find_matrix

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from shared import build_parser

STRENGTHS = (1e-4, 1e-2, 1.0)
BATCH_SIZE = 8


def main() -> None:
    """Print a line for each network."""
    parser = build_parser(__doc__)
    parser.add_argument("names", nargs="*", help="Networks; all by default.")
    parser.add_argument("--size", type=int, help="Pixels per side; those of the weights else.")
    arguments = parser.parse_args()
    folder = arguments.data / "data" / "hymenoptera_data" / "val"
    paths = sorted(folder.glob("*/*.jpg"))
    labels = np.array([path.parent.name for path in paths])
    print("| network | maps | cells | images | largest difference |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.names or featx.list_backbones():
        backbone = load(name, arguments.size)
        try:
            network = build_map_network(get_embedder(backbone), build_noise(backbone), name=name)
        except featx.BackboneError as error:
            print(f"| {name} | {error.got} | - | - | - |", flush=True)
            continue
        grids, excess = measure(backbone, network, paths, labels)
        kind = "exact" if network.norm is None else "exact, with the scale of each image"
        print(f"| {name} | {kind} | {grids} | {len(paths)} | {excess:.0e} |", flush=True)


def load(name: str, size: int | None) -> featx.Backbone:
    """Load a network with random weights; in its own size if it can take no other one."""
    try:
        return featx.load_backbone(name, weights="random:0", size=size)
    except featx.BackboneError:
        return featx.load_backbone(name, weights="random:0")


def measure(
    backbone: featx.Backbone, network: MapNetwork, paths: list[Path], labels: Array
) -> tuple[str, float]:
    """Compare the logits of images with their maps: the sizes of the maps, and the difference."""
    embedded, features = [], []
    for start in range(0, len(paths), BATCH_SIZE):
        pixels = [
            backbone.preprocess.prepare(Image.open(path).convert("RGB"))
            for path in paths[start : start + BATCH_SIZE]
        ]
        with torch.inference_mode():
            batch = backbone.preprocess.normalise(torch.from_numpy(np.stack(pixels)))
            embeddings, maps = network(batch)
        embedded.append(embeddings.numpy())
        features += list(zip(*(one.numpy() for one in maps), strict=True))
    X, excess = np.concatenate(embedded), 0.0
    for strength in STRENGTHS:
        estimator = featx.HeadClassifier("logreg", C=strength).fit(X, labels).pipeline_
        matrix = find_matrix(estimator)
        assert matrix is not None
        weights = LogitWeights(
            weight=matrix.weight[-1:], bias=matrix.bias[-1:], is_normalised=False
        )
        logits = estimator.decision_function(X)
        found = []
        for one in features:
            ((values, bias),) = decompose(one, weights, [0], parts=network.parts, norm=network.norm)
            found.append(values.astype(np.float32).mean(dtype=np.float64) + bias)
        excess = max(excess, float(abs(np.array(found) - logits).max() / abs(logits).max()))
    grids = " and ".join(f"{one.shape[1]} x {one.shape[2]}" for one in features[0])
    return grids, excess


if __name__ == "__main__":
    main()
