"""An audit accounts for all rows, and its table goes back through `featx.label_cache`."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.analytics.audit_words import describe_parts
from tests.builders import MakeCache, build_info, build_rows, write_noisy, write_vectors


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    return write_noisy(tmp_path / "noisy.h5")


def test_audit_lists_wrong_labels_and_accounts_for_all_rows(noisy: Path) -> None:
    report = featx.audit(noisy)
    assert report.label_errors is not None
    assert (report.n_rows, report.n_labelled, report.n_without_vector) == (200, 200, 1)
    assert report.label_errors.n_judged == 199
    told = report.to_dict()
    wrong = {one["id"] for one in told["label_errors"]}
    assert set(report.ids[5::20]) <= wrong
    assert report.label_errors.n_listed <= 18
    assert [line.finding for line in report.list_lines()].count("label error") <= 18
    assert told["label_errors"][0].keys() == {"id", "label", "suggested", "score"}
    assert told["blank"] is None
    assert "no image can be read" in told["not_measured"]["blank"]


def test_reviewed_table_goes_back_without_a_change_of_its_columns(
    noisy: Path, tmp_path: Path
) -> None:
    report = featx.audit(noisy)
    assert report.label_errors is not None
    table = tmp_path / "review.csv"
    report.write_table(table)
    with pytest.warns(featx.FeatxWarning, match="without a label"):
        untouched = featx.label_cache(noisy, table, author="ada")
    assert untouched.n_new == untouched.n_changed == 0
    with table.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    wrong = set(report.ids[5::20])
    reviewed = [line for line in lines if line["finding"] == "label error" and line["id"] in wrong]
    for line in reviewed:
        line["label"] = line["suggested"]
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    with pytest.warns(featx.FeatxWarning, match="without a label"):
        done = featx.label_cache(noisy, table, author="ada")
    assert done.n_changed == 10
    again = featx.audit(noisy)
    assert again.label_errors is not None
    assert again.label_errors.n_listed <= 3


def test_copies_in_two_classes_and_splits_come_first(noisy: Path) -> None:
    report = featx.audit(noisy)
    lines = report.list_lines()
    assert [(line.finding, line.keep) for line in lines[:3]] == [
        ("leak", "keep"), ("leak", "drop"), ("two classes", ""),
    ]  # fmt: skip
    assert (lines[2].given, lines[2].suggested) == ("ants", "bees")
    assert report.n_leaks == report.n_dropped == 1
    assert report.outliers is not None
    assert report.outliers.rows[0] == 7


def test_ids_that_look_like_formulas_go_back_too(tmp_path: Path) -> None:
    rows = build_rows(["=ants", "=ants"], ["train", "val"])
    rows[1] = replace(rows[1], digest=rows[0].digest)
    vectors = {"tiny": np.ones((2, 8), np.float32)}
    cache = write_vectors(tmp_path / "formulas.h5", [build_info()], rows, vectors)
    featx.audit(cache).write_table(tmp_path / "review.csv")
    with (tmp_path / "review.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert lines[0]["id"].startswith("'=")
    (tmp_path / "done.csv").write_text(f"id,label\n{lines[0]['id']},bees\n", encoding="utf-8")
    with pytest.warns(featx.FeatxWarning, match="new label 'bees'"):
        assert featx.label_cache(cache, tmp_path / "done.csv", author="ada").n_changed == 2


def test_blank_images_are_found_in_their_source(
    photos: Path, tmp_path: Path, tiny_backbone: str
) -> None:
    from PIL import Image

    Image.new("RGB", (60, 40), "white").save(photos / "val" / "ants" / "empty.png")
    cache = tmp_path / "blank.h5"
    featx.extract(photos, cache, backbone=tiny_backbone, progress=False)
    report = featx.audit(cache, source=photos)
    assert report.blank is not None
    assert [report.ids[row] for row in report.blank.rows] == ["val/ants/empty.png"]
    assert report.blank.reasons.tolist() == ["one colour"]
    assert report.blank.n_judged == report.n_rows
    assert report.list_lines()[-1].finding == "blank: one colour"
    with featx.open_cache(cache) as opened:
        page = featx.write_audit(opened, report, tmp_path / "audit.html", source=photos)
    assert page is not None
    text = page.read_text(encoding="utf-8")
    assert "val/ants/empty.png" in text
    assert "data:image/jpeg" in text


def test_several_classes_per_image_are_told(tmp_path: Path) -> None:
    rows = build_rows(["ants;bees", "ants"], [None, None])
    vectors = {"tiny": np.eye(2, 8, dtype=np.float32)}
    cache = write_vectors(tmp_path / "several.h5", [build_info()], rows, vectors)
    with pytest.warns(featx.FeatxWarning, match="such as ants;bees, are judged as classes"):
        featx.audit(cache)


def test_page_says_what_was_not_measured(cache_path: Path, tmp_path: Path) -> None:
    with featx.open_cache(cache_path) as cache:
        page = featx.write_audit(cache, featx.audit(cache), tmp_path / "audit.html")
    assert page is not None
    text = page.read_text(encoding="utf-8")
    assert "Not measured: 60 labelled rows are too few; 100 can be judged." in text
    assert "Not measured: no image can be read" in text
    assert ">Blank images</a></li>" in text  # no count of what was not looked at


def test_leak_between_two_clusters_is_listed(cache_path: Path) -> None:
    report = featx.audit(cache_path)  # its first 40 rows are train, the others val
    cluster = np.full(60, -1)
    cluster[[0, 1, 50, 51]] = [0, 0, 1, 1]
    near = replace(
        report.near_duplicates,
        a=np.array([0, 50, 1]),
        b=np.array([1, 51, 50]),
        score=np.array([0.99, 0.99, 0.86]),
        crosses=np.array([False, False, True]),
        exact=np.zeros(3, bool),
        cluster=cluster,
        kept=~np.isin(np.arange(60), [1, 51]),
    )
    report = replace(report, near_duplicates=near)
    assert report.n_leaks == 1
    assert [line.finding for line in report.list_lines()][:4] == ["leak"] * 4


def test_groups_in_several_splits_are_listed(make_cache: MakeCache) -> None:
    groups = [None] * 38 + [f"<b>{n // 3}</b>" for n in range(38, 60)]  # 39, 40 and 41 are parted
    report = featx.audit(make_cache(groups=groups))
    assert report.parted is not None
    assert report.parted.tolist() == [[40, 39], [41, 39]]
    assert report.to_dict()["parted_groups"] == ["<b>13</b>"]
    assert report.parted_groups == ("<b>13</b>",)
    lines = [line for line in report.list_lines() if line.finding == "parted group"]
    assert [(line.id, line.other) for line in lines] == [
        (report.ids[row], report.ids[39]) for row in (40, 41)
    ]
    told = describe_parts(report)["groups"]
    assert told.startswith(
        "1 group lies in several splits (<b>13</b>): scores of the 2 rows held out"
    )


@pytest.mark.parametrize(
    ("groups", "splits", "why"),
    [
        ("a" * 60, "." * 60, "no row has a split"),
        ("." * 60, "rv" * 30, "no row has a group"),
        ("a" * 30 + "." * 30, "." * 30 + "rv" * 15, "no row with a group has a split"),
        ("a" * 60, "r" * 60, "no held-out row has a label and a vector"),
        ("a" * 60, "vs" * 30, "no row of train has a label and a vector"),
    ],
)
def test_groups_that_cannot_be_parted_are_not_measured(
    tmp_path: Path, groups: str, splits: str, why: str
) -> None:
    path = write_columns(tmp_path / "groups.h5", groups, splits)
    report = featx.audit(path)
    assert describe_parts(report)["groups"] == f"- ({why})"
    told = report.to_dict()
    assert told["parted_groups"] is report.parted is None
    assert told["not_measured"]["groups"] == why
    assert f"Not measured: {why}." in write_page(path, report)
    assert (told["n_leaks"] is None) == (len(set(splits) - {"."}) < 2)
    if told["n_leaks"] is None:
        assert describe_parts(report)["leaks"] == f"- ({told['not_measured']['leaks']})"


def test_groups_of_one_side_are_whole(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "whole.h5", "a" * 20 + "b" * 40, "r" * 20 + "vs" * 20)
    report = featx.audit(path)
    assert describe_parts(report)["groups"] == "none in several splits"
    assert report.to_dict()["parted_groups"] == []
    assert report.n_leaks == 0


def test_files_without_digests_are_not_compared(tmp_path: Path) -> None:
    rows = [replace(row, digest="") for row in build_rows(["ants", "bees"], [None, None])]
    vectors = {"tiny": np.eye(2, 8, dtype=np.float32)}
    path = write_vectors(tmp_path / "none.h5", [build_info()], rows, vectors)
    report = featx.audit(path)
    assert describe_parts(report)["two classes"] == "- (no row has a digest)"
    assert report.to_dict()["two_classes"] is None
    assert "Not measured: no row has a digest." in write_page(path, report)


def test_rows_that_are_not_compared_are_counted(tmp_path: Path) -> None:
    rows = build_rows(["ants", "bees"] * 20, ["train", "val"] * 20)
    rows[3] = replace(rows[3], digest="")
    X = np.ones((40, 8), np.float32)
    X[[3, 4]] = np.nan
    path = write_vectors(tmp_path / "some.h5", [build_info()], rows, {"tiny": X})
    told = describe_parts(featx.audit(path))
    assert told["leaks"] == "none; 38 rows of equal vectors not told apart"
    assert told["duplicates"] == (
        "none among 40 rows, by embeddings alone; 1 row went by the bytes alone; 1 row could "
        "not be compared; 38 rows of equal vectors not told apart"
    )


def test_pairs_that_are_not_all_counted_are_at_least_so_many(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(150, 32)).astype(np.float32)
    X[:40] = X[0]
    rows = build_rows(["ants", "bees"] * 75, ["train", "val"] * 75)
    path = write_vectors(tmp_path / "same.h5", [build_info(dim=32)], rows, {"tiny": X})
    report = featx.audit(path)
    told = describe_parts(report)
    assert told["leaks"].startswith(f"at least {report.n_leaks} pairs of duplicates in two splits")
    assert f"at least {report.near_duplicates.n_pairs} pairs" in told["duplicates"]
    assert report.to_dict()["duplicates"]["is_complete"] is False


def test_words_of_one_label_are_singular(noisy: Path) -> None:
    report = featx.audit(noisy)
    assert report.label_errors is not None
    scores = np.array([0.7, 0.4])
    errors = replace(report.label_errors, scores=scores, n_listed=1, rate_ci95=(0.002, 0.031))
    told = describe_parts(replace(report, label_errors=errors))["label errors"]
    assert "; the first is more likely wrong than right; of 199 labels, 0.2% to 3.1%" in told
    assert told.endswith("; 1 labelled row could not be judged")
    errors = replace(errors, n_listed=0, rate_ci95=(0.0129, 0.1087))
    told = describe_parts(replace(report, label_errors=errors))["label errors"]
    assert told.startswith("cannot tell: of 199 labels, 1% to 11% may be wrong")


def write_columns(path: Path, groups: str, splits: str) -> Path:
    """Write a cache; a letter of `splits` is that of its name, and a dot an empty cell."""
    names: dict[str, Any] = {"r": "train", "v": "val", "s": "test", ".": None}
    labels = ["ants" if number % 2 else "bees" for number in range(len(groups))]
    rows = build_rows(labels, [names[one] for one in splits], [one.strip(".") for one in groups])
    X = np.random.default_rng(0).normal(size=(len(groups), 8)).astype(np.float32)
    return write_vectors(path, [build_info()], rows, {"tiny": X})


def write_page(path: Path, report: featx.AuditReport) -> str:
    """Return the text of the page."""
    with featx.open_cache(path) as cache:
        page = featx.write_audit(cache, report, path.with_suffix(".html"))
    assert page is not None
    return page.read_text(encoding="utf-8")


def test_near_duplicates_are_judged_as_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    scene = np.repeat(np.arange(20), 6)  # six shots each; all labels of two scenes are wrong
    X = rng.normal(size=(20, 16))[scene] + 0.02 * rng.normal(size=(120, 16))
    X[:, 0] += 3 * (scene % 2)
    labels = ["ab"[number] for number in np.where(scene < 2, 1 - scene % 2, scene % 2)]
    found = []
    for groups in (None, [f"scene {number}" for number in scene]):
        rows = build_rows(labels, ["train"] * 120, groups)
        path = tmp_path / f"{groups is None}.h5"
        write_vectors(path, [build_info(dim=16)], rows, {"tiny": X.astype(np.float32)})
        report = featx.audit(path)
        assert len(report.near_duplicates.clusters) == 20
        assert report.label_errors is not None
        found.append(report.label_errors.rate_ci95)
    assert found[0] == found[1]
    assert found[0][1] > 0.1
