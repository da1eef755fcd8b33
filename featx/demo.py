"""The first command of a newcomer: every step of featx on data that is already on the machine."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE

from featx.cache.joined import open_cache
from featx.core.progress import stage
from featx.core.signals import explain_end
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import Evaluation, score_predictions
from featx.images.decode import encode_image
from featx.report.page import (
    render_confusion,
    render_map,
    render_samples,
    render_table,
    write_page,
)

N_SAMPLES = 12
"""Number of images shown of each class."""


def run_demo(folder: Path, run: Callable[[list[str]], object]) -> Path:
    """Classify the handwritten digits that come with scikit-learn, and write a page about it.

    The 1,797 digits (Alpaydin and Kaynak 1998, UCI; 8 × 8 pixels) are written as PNG files into
    class folders, like a user's own images, and go through every command. Two controls on the same
    rows stand beside the result: the same head on raw pixels, and on the same network with random
    weights.

    Parameters
    ----------
    folder : Path
        Folder of all output; files of an earlier demo are replaced.
    run : callable
        Function that runs a featx command, given as a list of words.

    Returns
    -------
    Path
        Path of the page.
    """
    with explain_end(lambda: f"{folder} is unfinished; run the same again to begin anew"):
        return _run_demo(folder, run)


def _run_demo(folder: Path, run: Callable[[list[str]], object]) -> Path:
    images, cache, head = folder / "digits", folder / "digits.h5", folder / "head.joblib"
    random_cache = folder / "random.h5"
    print(f"1,797 handwritten digits from scikit-learn become PNGs in {images}/0 … {images}/9\n")
    with stage("writing images"):
        write_digits(images)

    def show(*words: object) -> None:
        """Print a command, then run it."""
        texts = [str(word) for word in words]
        print(f"$ featx {shlex.join(texts)}")
        run(texts)
        print()

    show("extract", images, "-o", cache, "--backbone", "mini", "--overwrite")
    show("split", cache, "--val", "0.2")
    show("fit-head", cache, "-o", head, "--overwrite")
    show("evaluate", head, cache, "--split", "val")
    with open_cache(cache) as opened:
        some = opened.paths[opened.select_rows("val")][::60]
    show("predict", head, *some, "--top", "2")

    print("What does the pretrained network add? The same network with random weights:\n")
    show(
        *("extract", images, "-o", random_cache, "--backbone", "mini"),
        *("--weights", "random:0", "--overwrite"),
    )
    show("split", random_cache, "--val", "0.2")
    scores = {"mini": evaluate(head, cache, split="val")}
    with stage("random weights"):
        scores["mini, random weights"] = evaluate(fit_head(random_cache), random_cache, split="val")
    with stage("raw pixels"):
        scores["raw pixels"] = evaluate_pixels(cache)
    print("val accuracy of the same kind of head on")
    for name, score in scores.items():
        low, high = score.accuracy_ci95
        print(f"  {name:22} {score.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})")
    control = scores["mini"]
    print(f"  {f'always {control.majority_class}':22} {control.majority_accuracy:.3f}")

    page = folder / "demo.html"
    write_demo_page(page, cache, images, scores)
    print(f"\nOpen this page in a browser: {page}")
    print("\nNow your own folder of images, with a folder per class:")
    print("  featx extract photos/ -o photos.h5 --backbone mini      # works anywhere")
    print("  featx extract photos/ -o photos.h5 --backbone resnet50  # better; fetches its weights")
    print("  featx split photos.h5 --val 0.2 && featx fit-head photos.h5 -o head.joblib")
    return page


def write_digits(folder: Path) -> None:
    """Write scikit-learn's digits as 8 × 8 PNGs, one folder per class."""
    digits = load_digits()
    # Values are 0..16. Black strokes on white would do as well: the network sees contrast.
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))


def evaluate_pixels(cache: Path) -> Evaluation:
    """Fit and score the same kind of head on raw pixels, on the same rows as in a cache."""
    with open_cache(cache) as opened:
        splits, labels = opened.splits, opened.labels
        numbers = [int(Path(path).stem) for path in opened.paths]
    X = load_digits().data[numbers]  # (1797, 64)
    train, val = splits == "train", splits == "val"
    classifier = HeadClassifier(progress=None).fit(X[train], labels[train])
    return score_predictions(
        labels[val],
        classifier.predict(X[val]),
        classes=classifier.classes_,
        probabilities=classifier.predict_proba(X[val]),
    )


def write_demo_page(page: Path, cache: Path, images: Path, scores: dict[str, Evaluation]) -> None:
    """Write the page: samples, map, comparison and confusion matrix."""
    with open_cache(cache) as opened:
        vectors, labels = opened.read_vectors(), opened.labels
    with stage("arranging the embeddings on a map"):
        points = TSNE(random_state=0, init="pca").fit_transform(vectors)
    samples = {
        folder.name: [path.read_bytes() for path in sorted(folder.iterdir())[:N_SAMPLES]]
        for folder in sorted(images.iterdir())
    }
    mini = scores["mini"]
    lines = [
        [name, s.accuracy, "{:.3f} to {:.3f}".format(*s.accuracy_ci95), s.macro_f1, s.log_loss]
        for name, s in scores.items()
    ]
    lines.append([f"always {mini.majority_class}", mini.majority_accuracy, *"---"])
    write_page(
        page,
        "featx demo: handwritten digits",
        [
            ("The images", "A few of each class, 8 × 8 pixels.", render_samples(samples)),
            (
                "The embeddings",
                "Every image is a point; images that the network finds similar lie together. "
                f"Made by t-SNE from {vectors.shape[1]} numbers per image; the network has never "
                "seen a digit.",
                render_map(points, labels),
            ),
            (
                "What the pretrained network adds",
                f"The same head on three kinds of features, {mini.n_rows} rows held out.",
                render_table(
                    ["features", "accuracy", "95 % interval", "macro F1", "log loss"], lines
                ),
            ),
            (
                "Which digits the head confuses",
                "Confusion matrix of mini's head on the held-out rows.",
                render_confusion(mini.classes, mini.confusion),
            ),
        ],
    )
