"""Write class maps: a contact sheet, a page, or the arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from featx.core.errors import FeatxError
from featx.core.files import replacing
from featx.core.typing import PathLike
from featx.explanation.class_map import ClassMap, describe_method
from featx.explanation.overlay import draw_overlay
from featx.report.gallery import (
    PAGES,
    SIDE,
    Card,
    Section,
    check_output,
    check_replaceable,
    encode_thumbnail,
    write_images,
)
from featx.report.locations import shorten_path

ARRAYS = ".npz"
"""Suffix of a file of arrays."""

SIGNS = (
    "Orange, with a line around what is strong, speaks for the class; blue, with stripes over what "
    "is strong, against it. The ring is the strongest place."
)
"""Sentences that say how to read a map."""

READING = (
    f"{SIGNS} It is told in pixels of the whole image. A map says which parts of the image this "
    "head reads, not what the thing in it is."
)

READING_A_SHEET = "orange, line: for the class; blue, stripes: against it; ring: strongest"

N_COLUMNS = 6
"""Number of images in a line of a sheet: three images with a map each."""


def write_maps(maps: Iterable[ClassMap], output: PathLike) -> Path:
    """Write class maps as a contact sheet, as a page, or as arrays.

    Parameters
    ----------
    maps : iterable of ClassMap
        The maps, those of one image behind each other, as `featx.explain` returns them.
    output : path
        File to write, by its suffix. ``.png``, ``.jpg`` or ``.webp``: a contact sheet. ``.html``: a
        page. ``.npz``: arrays, where ``values`` is ``(n_maps, h, w)``. What featx wrote there is
        replaced; other files are not.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FeatxError
        If the file cannot be written, no image has a map, or there are too many for a sheet.

    See Also
    --------
    featx.explain : Compute class maps.

    Examples
    --------
    >>> maps = featx.explain("head.joblib", ["ant.jpg", "bee.jpg"], top=2, progress=False)
    >>> print(featx.write_maps(maps, "maps.html"))
    maps.html
    >>> print(featx.write_maps(maps, "maps.npz"))
    maps.npz
    >>> np.load("maps.npz")["values"].shape
    (4, 8, 8)
    """
    check_maps_output(output)
    path = Path(output)
    if path.suffix.lower() == ARRAYS:
        _write_arrays(path, maps)
        return path
    is_page = path.suffix.lower() in PAGES
    cards, method = [], None
    for _, of_image in groupby(maps, key=lambda one: one.number):
        together = list(of_image)
        method = together[0].method
        cards += [*_iter_cards(together, is_page=is_page)]
    if method is None:
        raise _refuse_none(path)
    name = "Exact class maps" if method == "exact" else "Approximate class maps (Grad-CAM)"
    if is_page:
        sections = [
            Section(title="How to read a map", text=READING, cards=[_build_legend()]),
            Section(title=name, text=describe_method(method), cards=cards),
        ]
    else:
        sections = [Section(title=f"{name}; {READING_A_SHEET}", cards=cards)]
    write_images(path, "Class maps", sections, n_columns=N_COLUMNS, side=SIDE)
    return path


def check_maps_output(path: PathLike) -> None:
    """Refuse a file that `write_maps` would not write, before images are read.

    Parameters
    ----------
    path : path
        Path of the file.

    Raises
    ------
    FeatxError
        If the suffix is none of a page, a sheet or arrays, or if the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ARRAYS:
        check_output(path, others=(ARRAYS,))
        return
    check_replaceable(path, "arrays", _are_own_arrays)


def list_lines(one: ClassMap) -> list[str]:
    """List what a caption says of a map.

    Parameters
    ----------
    one : ClassMap
        The map of an image that could be read.
    """
    assert one.logit is not None
    assert one.probability is not None
    lines = [f"{one.label}, {one.probability:.1%}"]
    logit = f"logit {_show(one.logit)}"
    if one.bias is None or one.mean is None:
        lines.append(f"{logit}, approximate map")
    else:
        lines.append(f"{logit} = mean {_show(one.mean)} + bias {_show(one.bias)}")
    peak = one.find_peak()
    if peak:
        lines.append(f"strongest at column {peak[0]}, row {peak[1]}")
    elif one.values is not None and one.values.max() <= 0:
        lines.append("no place speaks for it")
    return lines


def _show(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _iter_cards(maps: Sequence[ClassMap], *, is_page: bool) -> Iterator[Card]:
    """Yield the cards of one image: its maps share one scale of colours."""
    limit = max((float(np.abs(m.values).max()) for m in maps if m.values is not None), default=0.0)
    for place, one in enumerate(maps):
        if one.values is None:
            yield Card(images=[None], lines=[shorten_path(one.path), str(one.error)])
            continue
        whole, overlay = one.show(SIDE), one.overlay(SIDE, limit=limit or None)
        source = [
            shorten_path(one.path),
            *([f"labelled {one.true_label}"] if one.true_label else []),
        ]
        if is_page:
            lines = [*source, *list_lines(one)]
            # Of many images, memory holds the bytes of their thumbnails.
            yield Card(images=[encode_thumbnail(image) for image in (whole, overlay)], lines=lines)
            continue
        if place == 0:
            yield Card(images=[whole], lines=source)
        yield Card(images=[overlay], lines=list_lines(one))


def _build_legend() -> Card:
    """Build a card that shows a map from the strongest against a class to the strongest for it."""
    gray = np.full((SIDE, SIDE, 3), 150, np.uint8)
    ramp = np.linspace(-1, 1, 9)
    fading = 1 - np.abs(np.linspace(-0.02, 0.02, 9))
    image = draw_overlay(gray, fading[:, None] * ramp)
    return Card(
        images=[encode_thumbnail(image)],
        lines=["From against the class, left, to for the class, right"],
    )


def _write_arrays(path: Path, maps: Iterable[ClassMap]) -> None:
    """Write the maps as arrays; those of images with an error are NaN."""
    found = list(maps)
    shapes = {one.values.shape for one in found if one.values is not None}
    if not shapes:
        raise _refuse_none(path)
    (shape,) = shapes
    none = np.full(shape, np.nan, np.float32)
    arrays: dict[str, Any] = {
        "values": np.stack([none if one.values is None else one.values for one in found]),
        "number": np.array([one.number for one in found]),
        "path": np.array([one.path for one in found]),
        "label": np.array([one.label or "" for one in found]),
        "method": np.array([one.method for one in found]),
    }
    for name in ("logit", "bias", "probability"):
        column = [getattr(one, name) for one in found]
        arrays[name] = np.array([np.nan if value is None else value for value in column])
    boxes = [one.box or (np.nan,) * 4 for one in found]
    arrays["box"] = np.array(boxes, np.float64)
    with replacing(path, error=FeatxError, overwrite=True) as draft, draft.open("wb") as stream:
        np.savez(stream, **arrays)


def _are_own_arrays(path: Path) -> bool:
    """Return whether a file holds arrays of class maps."""
    try:
        with zipfile.ZipFile(path) as packed:
            return {f"{name}.npy" for name in ("values", "method", "box")} <= {*packed.namelist()}
    except (OSError, zipfile.BadZipFile):
        return False


def _refuse_none(path: Path) -> FeatxError:
    return FeatxError(
        subject=str(path),
        expected="at least one class map",
        got="none",
        remedy="Pass images that can be read.",
    )
