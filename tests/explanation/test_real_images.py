"""Class maps of photos, with published weights and after fine-tuning: the identity, and places."""

from pathlib import Path
from typing import Any

import pytest

import featx

LIMIT = 1e-4


def check_exact(maps: Any) -> None:
    """Check the identity against the logits, which the head's own estimator computes."""
    assert maps
    limit = LIMIT * max(abs(one.logit) for one in maps)
    assert all(one.is_exact for one in maps)
    assert max(abs(one.mean + one.bias - one.logit) for one in maps) <= limit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mobilenet_v2", "mobilenet_v2-imagenet-backbone.pth"),
        ("squeezenet1_1", "squeezenet1_1-imagenet.pth"),
    ],
)
def test_maps_of_all_validation_photos_are_exact(
    shared: Path, tmp_path: Path, name: str, file: str
) -> None:
    photos = shared / "data/hymenoptera_data"
    featx.extract(
        photos, tmp_path / "h.h5", backbone=name, weights=str(shared / "weights" / file),
        progress=False,
    )  # fmt: skip
    paths = sorted((photos / "val").glob("*/*.jpg"))
    assert len(paths) == 153
    options: dict[str, Any]
    for options in ({"kind": "logreg"}, {"kind": "linear-svm", "pca": 32}, {"scaling": "l2"}):
        head = featx.fit_head(tmp_path / "h.h5", progress=False, **options)
        some = paths if options == {"kind": "logreg"} else paths[::8]
        maps = featx.explain(head, some, ["ants", "bees"], progress=False)
        assert len(maps) == 2 * len(some)
        check_exact(maps)


@pytest.mark.slow
def test_maps_after_fine_tuning_are_exact(photos: Path, tmp_path: Path) -> None:
    featx.extract(photos, tmp_path / "c.h5", backbone="mini", progress=False)
    report = featx.fine_tune(
        photos,
        tmp_path / "c.h5",
        tmp_path / "tuned.safetensors",
        unfreeze=1,
        recipe=featx.Recipe(epochs=2),
        engine="torch",
        progress=False,
    )
    with featx.Explainer(report.head_path, progress=False) as explainer:
        maps = explainer.explain(photos / "val", ["ants", "bees"])
    assert {one.values.shape for one in maps if one.values is not None} == {(8, 8)}
    check_exact(maps)
