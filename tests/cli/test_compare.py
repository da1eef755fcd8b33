"""Comparisons on the command line: a line for each candidate, and what it comes to."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cli.compare import describe_rows, print_candidates, split_names
from featx.fitting.fit import fit_head
from featx.heads.candidates import Candidate, HeadComparison, compare_candidates


def build(**changes: Any) -> HeadComparison:
    y = np.array(["ants", "bees"] * 20, object)
    wrong = np.where(np.arange(40) < 10, "bees", y)
    candidates = [
        Candidate(name="first", predicted=wrong, classes=y[:2], seconds=1.25),
        Candidate(name="second", predicted=y, classes=y[:2]),
    ]
    return compare_candidates(y, candidates, **changes)


def test_split_names_takes_commas_and_blanks() -> None:
    assert split_names("logreg, linear-svm,") == ["logreg", "linear-svm"]


def test_describe_rows_accounts_for_all_rows() -> None:
    assert describe_rows(build()) == "40 rows (split all)"
    units = np.arange(40) // 4
    assert describe_rows(build(units=units, n_folds=5)) == (
        "10 units in 40 rows (split all), held out in 5 folds"
    )


def test_print_candidates_has_a_line_of_each_and_of_the_control(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_candidates(build())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:]] == ["second", "first", "always"]
    assert lines[1][-3:] == ["-", "-", "-"]
    assert lines[2][1] == "0.875"
    assert lines[2][7] == "1.2"
    assert "-0.125" in lines[2]


def test_compare_commands_print_a_table_and_a_verdict(cache_path: Path, run_cli: Any) -> None:
    path = cache_path.with_name("head.joblib")
    fit_head(cache_path, path)
    result = run_cli("compare", str(path), "--cache", str(cache_path))
    assert (result.code, result.err) == (0, "")
    assert "20 rows (split val)" in result.out
    assert result.out.splitlines()[-1].startswith("head.joblib is the best: ")
    result = run_cli("compare", str(cache_path), "--kinds", "nearest-mean,ridge", "--cv", "4")
    assert result.code == 0
    assert "40 rows (split train), held out in 4 folds" in result.out
    assert result.out.splitlines()[-1].startswith("cannot tell ")


def test_a_head_of_two_embeddings_from_fit_to_prediction(
    make_cache: Any, make_info: Any, run_cli: Any
) -> None:
    path = make_cache("two.h5", infos=[make_info("tiny"), make_info("mini", dim=3)])
    both = path.with_name("both.joblib")
    options = ["--embedding", "mini", "--embedding", "tiny"]
    result = run_cli("fit-head", str(path), "-o", str(both), *options)
    assert (result.code, result.err) == (0, "")
    assert "40 rows (split train), mini and tiny side by side\n" in result.out
    result = run_cli("info", str(both))
    reads = [line.split(":")[1] for line in result.out.splitlines() if line.startswith("reads")]
    assert [text.split()[0] for text in reads] == ["mini", "tiny"]
    found = json.loads(run_cli("info", str(both), "--json").out)
    assert list(found["embeddings"]) == ["mini", "tiny"]
    assert found["embeddings"]["mini"]["fingerprint"]["dim"] == 3
    for named in ([], options):
        result = run_cli("evaluate", str(both), str(path), *named)
        assert (result.code, result.err) == (0, "")
    assert run_cli("predict", str(both), str(path)).code == 0
    names = ["--kinds", "logreg", "--embeddings", "tiny,mini+tiny"]
    result = run_cli("compare", str(path), *names)
    assert "logreg, mini+tiny " in result.out


def test_compare_used_wrongly_ends_in_one_line(cache_path: Path, run_cli: Any) -> None:
    path = cache_path.with_name("head.joblib")
    fit_head(cache_path, path)
    result = run_cli("compare", str(cache_path), "--cache", str(path))
    assert result.code == 2
    assert f"Exchange the two: featx compare {path} --cache {cache_path}." in result.err
    result = run_cli("compare", str(path))
    assert result.code == 1
    assert "expected a cache, got a head" in result.err
    result = run_cli("compare", str(cache_path), "--kinds", "forest")
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
