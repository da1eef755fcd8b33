"""Lay one image over another, and measure how well they agree.

The middle of one thumbnail is looked for in the other: first roughly, at three sizes, at many
offsets and mirrored, then exactly, by Gauss-Newton steps over an affine map. An image that was
cropped, resized or mirrored agrees with its original; two images of the same kind do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib
import numpy as np

from featx.analytics.thumbnails import SIDE, build_resizing
from featx.core.typing import Float32Array, IntArray

MIDDLE = 22
"""Side of the middle of a thumbnail that is compared, in pixels."""

ROUGH_MIDDLE = 12
"""Side of the middle that is looked for roughly, where a thumbnail has 16 pixels."""

ROUGH_SIDES = (19, 16, 14)
"""Sides of the thumbnails that it is looked for in: of an image that was zoomed out, or in."""

MAX_OFFSET = 3
"""Largest offset that is tried roughly, in pixels of the rough thumbnail."""

N_STEPS = 6
"""Number of Gauss-Newton steps; the best one counts."""

PROMISING = 0.45
"""Rough agreement from which on the exact one is computed."""

BLOCK = 256
"""Number of pairs, or of images, that a thread works on at a time."""

MAX_STRETCH, MAX_SHEAR, MAX_SHIFT = 1.45, 0.2, 9.0
"""Limits of the map: images that agree only beyond them are no copies."""

FLAT = 0.02
"""Mean square of the local contrast below which the middle of an image shows nothing."""

N_SHOWING = 150
"""Effective number of pixels below which an agreement counts less: two small birds in two skies
agree by chance."""

MOST = 0.999
"""Largest agreement: above, it is rounding."""

_Found = TypeVar("_Found")

_AXIS = np.arange(MIDDLE, dtype=np.float32) - (MIDDLE - 1) / 2
_Y, _X = (part.ravel() for part in np.meshgrid(_AXIS, _AXIS, indexing="ij"))
_BASIS = np.stack([_Y, _X, np.ones_like(_Y)])
_CENTRE = (SIDE - 1) / 2
_START = (SIDE - MIDDLE) // 2
_CUT = slice(_START, _START + MIDDLE)


def measure_agreement(contrasts: Float32Array, a: IntArray, b: IntArray) -> Float32Array:
    """Measure how well images agree, pair by pair.

    Parameters
    ----------
    contrasts : ndarray of float32
        ``(n_images, 32, 32)``, local contrasts of thumbnails.
    a, b : ndarray of int64
        ``(n_pairs,)``, the images of each pair.

    Returns
    -------
    ndarray of float32
        ``(n_pairs,)``, the correlation of local contrasts where the images agree best, -1 to 1. It
        is lowered if few pixels show anything, and NaN if the middle of an image shows nothing.
    """
    rough, maps = _align_roughly(contrasts, a, b)
    middles = contrasts[:, _CUT, _CUT]
    squares = np.einsum("nij,nij->n", middles, middles)
    shows = squares > FLAT * MIDDLE**2
    exact = np.flatnonzero((rough > PROMISING) & shows[a] & shows[b])
    fine = _run(
        lambda part: _align(contrasts, a[exact[part]], b[exact[part]], maps[exact[part]]),
        len(exact),
    )
    agreement = rough.copy()
    for block, found in fine:
        agreement[exact[block]] = found
    n_showing = squares**2 / np.maximum(np.einsum("nij->n", middles**4), 1e-9)
    share = np.sqrt(np.minimum(1, np.sqrt(n_showing[a] * n_showing[b]) / N_SHOWING))
    agreement[:] = np.tanh(share * np.arctanh(np.clip(agreement, -MOST, MOST)))
    agreement[~(shows[a] & shows[b])] = np.nan
    return agreement


def _run(work: Callable[[slice], _Found], n_items: int) -> Iterator[tuple[slice, _Found]]:
    """Work on blocks in threads: numpy leaves the other threads free."""
    blocks = [slice(start, start + BLOCK) for start in range(0, n_items, BLOCK)]
    with ThreadPoolExecutor(int(joblib.cpu_count()), "featx-align") as pool:
        yield from zip(blocks, pool.map(work, blocks), strict=True)


def _normalise(windows: Float32Array) -> Float32Array:
    """Bring windows ``(…, n_pixels)`` to mean 0 and length 1; flat ones stay near 0."""
    centred: Float32Array = windows - windows.mean(axis=-1, keepdims=True)
    lengths = np.sqrt(np.einsum("...i,...i->...", centred, centred))[..., None]
    centred /= lengths + 1e-3
    return centred


def _align_roughly(
    contrasts: Float32Array, a: IntArray, b: IntArray
) -> tuple[Float32Array, Float32Array]:
    """Find where the middle of `b` lies in `a`, roughly.

    Returns
    -------
    agreement : ndarray of float32
        ``(n_pairs,)``, the best correlation.
    maps : ndarray of float32
        ``(n_pairs, 2, 3)``, maps of places in `b` to places in `a`, from the centre, in pixels.
    """
    half = SIDE // 2
    shrinking = build_resizing(SIDE, half)
    start = (half - ROUGH_MIDDLE) // 2
    cut = slice(start, start + ROUGH_MIDDLE)
    windows, maps = _list_windows()
    agreement, chosen = np.empty(len(a), np.float32), np.empty(len(a), np.int64)
    order = np.argsort(a, kind="stable")
    firsts, starts = np.unique(a[order], return_index=True)
    ends = np.append(starts[1:], len(a))

    def look(block: slice) -> tuple[IntArray, Float32Array, IntArray]:
        """Look for all partners of a block of images."""
        own = firsts[block]
        views: Float32Array = np.empty((len(own), len(windows), ROUGH_MIDDLE**2), np.float32)
        at = 0
        for side in ROUGH_SIDES:
            resizing = build_resizing(SIDE, side)
            small = resizing @ contrasts[own] @ resizing.T
            for y, x in _list_offsets(side):
                part = small[:, y : y + ROUGH_MIDDLE, x : x + ROUGH_MIDDLE]
                views[:, at] = part.reshape(len(own), -1)
                views[:, at + 1] = part[:, :, ::-1].reshape(len(own), -1)
                at += 2
        seen = _normalise(views)
        pairs: IntArray = order[starts[block][0] : ends[block][-1]]
        shrunk: Float32Array = np.matmul(np.matmul(shrinking, contrasts[b[pairs]]), shrinking.T)
        others = _normalise(shrunk[:, cut, cut].reshape(len(pairs), -1))
        best, numbers = np.empty(len(pairs), np.float32), np.empty(len(pairs), np.int64)
        offset = starts[block][0]
        bounds = zip(starts[block] - offset, ends[block] - offset, strict=True)
        for image, (first, end) in zip(seen, bounds, strict=True):
            products = others[first:end] @ image.T
            numbers[first:end] = products.argmax(axis=1)
            best[first:end] = products.max(axis=1)
        return pairs, best, numbers

    for _, (pairs, best, numbers) in _run(look, len(firsts)):
        agreement[pairs], chosen[pairs] = best, numbers
    return agreement, maps[chosen]


def _list_offsets(side: int) -> list[tuple[int, int]]:
    """List the offsets of windows in a rough thumbnail of some side."""
    middle = (side - ROUGH_MIDDLE) / 2
    steps = [step for step in range(side - ROUGH_MIDDLE + 1) if abs(step - middle) <= MAX_OFFSET]
    return [(y, x) for y in steps for x in steps]


def _list_windows() -> tuple[list[tuple[int, int, int]], Float32Array]:
    """List the windows that are looked at, and the map that belongs to each."""
    windows, maps = [], []
    for side in ROUGH_SIDES:
        scale, middle = SIDE / side, (side - ROUGH_MIDDLE) / 2
        zoom = scale / 2  # a pixel of the partner's rough thumbnail has the length 2
        for y, x in _list_offsets(side):
            for turn in (1, -1):
                windows.append((side, y, x))
                maps.append(
                    [[zoom, 0, (y - middle) * scale], [0, turn * zoom, (x - middle) * scale]]
                )
    return windows, np.array(maps, np.float32)


def _align(contrasts: Float32Array, a: IntArray, b: IntArray, maps: Float32Array) -> Float32Array:
    """Improve maps by Gauss-Newton steps, and return the best correlation of each pair."""
    middles = contrasts[b][:, _CUT, _CUT]
    goals = _normalise(middles.reshape(len(b), -1))
    lengths = np.linalg.norm(middles.reshape(len(b), -1), axis=1)
    jacobian, inverse = _differentiate(contrasts[b], lengths)
    best = np.full(len(a), -1, np.float32)
    for step in range(N_STEPS + 1):
        seen = _normalise(_sample(contrasts, a, maps))
        agreement = np.einsum("pi,pi->p", seen, goals)
        np.maximum(best, agreement, out=best)
        if step == N_STEPS:
            return best
        errors = seen - goals * np.maximum(agreement, 0.3)[:, None]
        slopes = np.matmul(jacobian, errors[:, :, None])
        change = np.matmul(inverse, slopes)[:, :, 0].reshape(-1, 2, 3)
        maps = _limit(_compose(maps, change))
    return best


def _differentiate(
    contrasts: Float32Array, lengths: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """Differentiate the middles by the six numbers of a map.

    Returns
    -------
    jacobian : ndarray of float32
        ``(n_pairs, 6, n_pixels)``.
    inverse : ndarray of float32
        ``(n_pairs, 6, 6)``, inverse of its square, damped.
    """
    wide = slice(_START - 1, _START + MIDDLE + 1)
    part = contrasts[:, wide, wide]
    scale = (2 * np.maximum(lengths, 1e-3))[:, None]
    down = ((part[:, 2:, 1:-1] - part[:, :-2, 1:-1]).reshape(len(part), -1)) / scale
    right = ((part[:, 1:-1, 2:] - part[:, 1:-1, :-2]).reshape(len(part), -1)) / scale
    jacobian = np.concatenate([down[:, None] * _BASIS[None], right[:, None] * _BASIS[None]], axis=1)
    jacobian -= jacobian.mean(axis=2, keepdims=True)
    square = np.matmul(jacobian, jacobian.transpose(0, 2, 1))
    diagonal = np.arange(6)
    square[:, diagonal, diagonal] *= 1.02
    square[:, diagonal, diagonal] += 1e-4
    return jacobian, np.linalg.inv(square).astype(np.float32)


def _compose(maps: Float32Array, change: Float32Array) -> Float32Array:
    """Undo a small change of the partner in the maps: a map after the inverse of the change."""
    undone = np.eye(2, 3, dtype=np.float32) - np.clip(change, -1.5, 1.5)
    linear, shift = maps[:, :, :2], maps[:, :, 2:]
    composed: Float32Array = np.matmul(linear, undone)
    composed[:, :, 2:] += shift
    return composed


def _limit(maps: Float32Array) -> Float32Array:
    turn = np.sign(maps[:, 1, 1])
    low, high = 1 / MAX_STRETCH, MAX_STRETCH
    maps[:, 0, 0] = np.clip(maps[:, 0, 0], low, high)
    maps[:, 1, 1] = np.clip(np.abs(maps[:, 1, 1]), low, high) * turn
    for i, j in ((0, 1), (1, 0)):
        maps[:, i, j] = np.clip(maps[:, i, j], -MAX_SHEAR, MAX_SHEAR)
    maps[:, :, 2] = np.clip(maps[:, :, 2], -MAX_SHIFT, MAX_SHIFT)
    return maps


def _sample(contrasts: Float32Array, images: IntArray, maps: Float32Array) -> Float32Array:
    """Read images at the places that the middle is mapped to, between pixels linearly."""
    places = np.matmul(maps, _BASIS) + _CENTRE
    np.clip(places, 0, SIDE - 1.001, out=places)
    whole = places.astype(np.int32)
    places -= whole
    y, x = places[:, 0], places[:, 1]
    flat = contrasts.reshape(-1)
    at = whole[:, 0] * SIDE + whole[:, 1] + images[:, None] * SIDE**2
    top = flat[at] * (1 - x) + flat[at + 1] * x
    bottom = flat[at + SIDE] * (1 - x) + flat[at + SIDE + 1] * x
    seen: Float32Array = top * (1 - y) + bottom * y
    return seen
