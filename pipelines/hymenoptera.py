"""Ants or bees: from a folder of photos to an evaluated head, on public names only.

The photos are the data set of PyTorch's transfer-learning tutorial, 245 to train on and 153 to
test. Run it with ``python pipelines/hymenoptera.py``; it takes about half a minute on two cores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from shared import build_parser, check_there

import featx


def main() -> None:
    """Extract, fit, evaluate, predict."""
    parser = build_parser(__doc__)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", help="default: the file for the backbone in --data")
    parser.add_argument(
        "--output", type=Path, help="folder for cache and head (default: temporary)"
    )
    arguments = parser.parse_args()
    photos = check_there(arguments.data / "data" / "hymenoptera_data")
    weights = arguments.weights
    if weights is None:
        found = sorted((arguments.data / "weights").glob(f"{arguments.backbone}-*"))
        weights = str(found[0]) if found else "DEFAULT"
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.output or Path(temporary)
        cache, head_path = folder / "photos.h5", folder / "head.joblib"

        report = featx.extract(
            photos, cache, backbone=arguments.backbone, weights=weights, overwrite=True
        )
        print(f"{report.n_rows} embeddings in {report.elapsed_s:.1f} s")

        head = featx.fit_head(cache, head_path, kind="logreg", overwrite=True)
        print(f"fitted on {head.fitted_on.n_rows} rows, C {head.params['C']:.3g}")

        scores = featx.evaluate(head, cache, split="val")
        low, high = scores.accuracy_ci95
        print(f"val accuracy {scores.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})")

        some = sorted((photos / "val").glob("*/*.jpg"))[::40]
        for prediction in featx.predict(head, some):
            name = Path(prediction.path)
            print(f"{name.parent.name}/{name.name}: {prediction.label} {prediction.score:.2f}")


if __name__ == "__main__":
    main()
