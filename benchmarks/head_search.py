"""How long the search for C takes, for both kinds of heads.

Run it with ``python benchmarks/head_search.py``; the last line takes two minutes.
"""

from __future__ import annotations

import time

import numpy as np

import featx

SHAPES = ((245, 1280, 2), (5000, 1280, 10))


def main() -> None:
    """Fit both kinds on generated features of each shape."""
    print("rows x dim, classes    kind          seconds  C        held-out accuracy")
    rng = np.random.default_rng(0)
    for n_rows, dim, n_classes in SHAPES:
        y = rng.integers(0, n_classes, n_rows)
        centres = 0.15 * rng.normal(size=(n_classes, dim))
        # Rectified, as the features of most convnets are.
        X = np.maximum(centres[y] + rng.normal(size=(n_rows, dim)), 0).astype(np.float32)
        for kind in ("logreg", "linear-svm"):
            start = time.perf_counter()
            head = featx.HeadClassifier(kind).fit(X, y)
            elapsed = time.perf_counter() - start
            assert head.search_ is not None
            accuracy = np.mean(head.search_.held_out == y)
            shape = f"{n_rows} x {dim}, {n_classes}"
            print(f"{shape:22} {kind:12} {elapsed:8.1f}  {head.C_:.1e}  {accuracy:.3f}", flush=True)


if __name__ == "__main__":
    main()
