"""What a class map says of itself, and its drawing."""

import json
from typing import Any

import numpy as np
import pytest

import featx
from featx.explanation.overlay import AGAINST, FOR, draw_overlay, enlarge


def build_map(values: Any = None, **changes: Any) -> featx.ClassMap:
    fields: dict[str, Any] = {
        "number": 0,
        "path": "ant.jpg",
        "label": "ants",
        "probability": 0.9,
        "logit": 2.0,
        "bias": 1.0,
        "values": None if values is None else np.asarray(values, np.float32),
        "image": np.full((40, 80, 3), 128, np.uint8),
        "size": (200, 100),
        "box": (50.0, 0.0, 150.0, 100.0),
    }
    return featx.ClassMap(**fields | changes)


def test_peak_is_in_pixels_of_the_whole_image() -> None:
    found = build_map([[0, 1, 5, 0], [0, 1, 2, 3]])
    assert found.find_peak() == (112, 25)  # the third of four columns, the first of two rows


def test_peak_beside_the_image_is_its_last_pixel() -> None:
    found = build_map([[0, 5]], box=(150.0, 0.0, 350.0, 100.0))
    assert found.find_peak() == (199, 50)


@pytest.mark.parametrize(
    "changes", [{"values": np.full((2, 2), -1.0)}, {"box": None}, {"values": None}]
)
def test_there_is_no_peak_without_evidence_or_box_or_map(changes: Any) -> None:
    assert build_map(**{"values": np.eye(2), **changes}).find_peak() is None


def test_it_is_written_as_json_without_arrays() -> None:
    found = json.loads(json.dumps(build_map([[0, 1], [2, 1]]).to_dict()))
    assert found["mean"] + found["bias"] == found["logit"]
    assert (found["shape"], found["lowest"], found["highest"]) == ([2, 2], 0, 2)
    assert (found["width"], found["height"], found["is_exact"]) == (200, 100, True)
    assert not {"values", "image"} & found.keys()


def test_an_error_has_no_overlay() -> None:
    failed = featx.ClassMap(number=0, path="bad.jpg", error="no image")
    assert failed.mean is None
    assert failed.to_dict()["shape"] is None
    for draw in (failed.overlay, failed.show):
        with pytest.raises(featx.FeatxError, match=r"bad\.jpg: expected an image .* got no image"):
            draw()


def test_overlay_has_the_shape_of_the_image() -> None:
    found = build_map([[0, 1]])
    assert found.overlay().size == (80, 40)
    assert found.overlay(200).size == found.show(200).size == (200, 100)


def test_colours_lie_where_the_values_are_and_a_ring_at_the_largest() -> None:
    gray = np.full((224, 224, 3), 100, np.uint8)
    values = np.zeros((7, 7))
    values[1, 1], values[5, 5] = 1, -1
    drawn = np.asarray(draw_overlay(gray, values)).astype(int)
    for place, colour in ((46, FOR), (174, AGAINST)):  # inside the ring, in the middle of a cell
        near = drawn[place : place + 4, place - 4 : place + 8].reshape(-1, 3)
        away = np.array(colour) - 100
        assert (np.sign(np.median(near, axis=0) - 100) == np.sign(away)).all()
    assert (drawn[100:124, 100:124] == 100).all()  # nothing speaks there
    flipped = np.asarray(draw_overlay(gray, -values)).astype(int)
    assert not (drawn == flipped).all(axis=2)[20:60, 20:60].all()


def test_meaning_is_not_by_colour_alone() -> None:
    """Without colours, for and against differ: by a line and a ring, and by stripes."""
    gray = np.full((112, 112, 3), 128, np.uint8)
    ramp = np.linspace(-1, 1, 7)[None] * np.ones((7, 1))
    drawn = np.asarray(draw_overlay(gray, ramp).convert("L")).astype(int)
    right, left = drawn[60:, 70:100], drawn[60:, 5:25]
    assert (right.max(axis=1) > 240).all()  # the line
    assert (left.min(axis=1) < 128).all()
    assert (left.max(axis=1) > 240).all()
    assert (drawn[0, 60:80] < 240).all() or (drawn[0, 84:] < 240).all()


def test_limit_is_the_value_with_the_fullest_colour() -> None:
    gray = np.full((70, 70, 3), 100, np.uint8)
    values = np.eye(7)
    strong, weak = (np.asarray(draw_overlay(gray, values, limit=one)) for one in (1.0, 100.0))
    assert abs(weak.astype(int) - 100).mean() < abs(strong.astype(int) - 100).mean()


def test_a_map_of_zeros_is_gray() -> None:
    image = np.zeros((30, 30, 3), np.uint8)
    image[..., 1] = 200
    drawn = np.asarray(draw_overlay(image, np.zeros((3, 3))))
    assert (drawn == drawn[0, 0, 0]).all()


def test_enlarged_map_keeps_its_values_in_the_middle_of_cells() -> None:
    values = np.arange(4.0).reshape(2, 2)
    large = enlarge(values, (6, 6))
    np.testing.assert_allclose(large[1::3, 1::3], values)
