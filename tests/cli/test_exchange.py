"""featx export and featx import: what they print, and their words for a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def folder(cache_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(cache_path.parent)
    return cache_path.parent


def test_export_and_import_count_every_row(folder: Path, run_cli: Any) -> None:
    result = run_cli("export", "cache.h5", "-o", "v.npz", "--split", "val", "--label", "ants")
    told = "v.npz: 10 rows, tiny (dim 8, float32), 8 columns; 50 of other splits or labels left out"
    assert result.out.splitlines() == [told]
    result = run_cli("import", "v.npz", "-o", "again.h5")
    told = "again.h5: 10 rows (10 labelled, 10 in a split), tiny (dim 8, float32)"
    assert result.out.splitlines() == [f"{told}; with the fingerprint that featx exported"]


def test_export_refuses_in_flags(folder: Path, run_cli: Any) -> None:
    run_cli("export", "cache.h5", "-o", "v.npz")
    message = "v.npz: expected a new file, got a file that exists. Pass --overwrite to replace it."
    run_cli("export", "cache.h5", "-o", "v.npz").check_error(message)
    run_cli("export", "cache.h5", "-o", "v.doc").check_error("got the suffix '.doc'")


def test_import_tells_the_model_and_what_was_passed_over(folder: Path, run_cli: Any) -> None:
    np.save("v.npy", np.eye(3, 2, dtype=np.float32))
    Path("ids.csv").write_text("id,label,kind\n1,a,x\n2,b,y\n3,a,z\n")
    result = run_cli("import", "v.npy", "--ids", "ids.csv", "--model", "clip", "-o", "c.h5")
    told = "c.h5: 3 rows (3 labelled, 0 in a split), clip (dim 2, float32)"
    assert result.out.splitlines() == [
        f"{told}; imported as vectors of clip; columns passed over: kind"
    ]
    lines = run_cli("info", "c.h5").out.splitlines()
    assert "  imported vectors of clip, dim 2" in lines
    assert lines[-1].startswith("  imported 20")
    assert lines[-1].endswith("from v.npy")


def test_import_refuses_in_flags(folder: Path, run_cli: Any) -> None:
    np.savez("two.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    run_cli("import", "two.npz", "-o", "c.h5").check_error("got several: a, b. Pass --column NAME.")
    np.save("v.npy", np.eye(3, 2))
    run_cli("import", "v.npy", "-o", "cache.h5").check_error("Pass --overwrite to replace it.")
    run_cli("import", "v.npy", "-o", "c.h5", "--model", "").check_error("--model: expected", code=2)


def test_predict_on_an_image_names_the_commands(
    folder: Path, run_cli: Any, make_image: Any
) -> None:
    rng = np.random.default_rng(0)
    np.savez("v.npz", embedding=rng.normal(size=(20, 4)), label=["a", "b"] * 10)
    run_cli("import", "v.npz", "-o", "c.h5", "--model", "clip")
    assert run_cli("fit-head", "c.h5", "-o", "c.joblib", "--split", "all").code == 0
    assert run_cli("evaluate", "c.joblib", "c.h5", "--split", "all").code == 0
    assert len(run_cli("predict", "c.joblib", "c.h5").out.splitlines()) >= 20
    assert run_cli("verify", "c.h5").code == 0
    make_image(folder / "a.png")
    result = run_cli("predict", "c.joblib", "a.png")
    result.check_error("the head: expected embeddings that featx can compute, got imported vectors")
    assert "with featx import vectors --output path" in result.err
    result = run_cli("verify", "c.h5", "--against", ".")
    assert result.code == 1
    assert "expected embeddings that featx can compute" in result.err
    message = "expected a cache whose vectors featx computed, got imported vectors of clip"
    run_cli("extract", ".", "-o", "c.h5", "--backbone", "mini").check_error(message)


def test_json_names_the_output(folder: Path, run_cli: Any) -> None:
    record = json.loads(run_cli("export", "cache.h5", "-o", "v.npz", "--json").out)
    assert (record["cache"], record["output"], record["format"]) == ("cache.h5", "v.npz", "NumPy")
    assert record["fingerprint"]["backbone"] == "tiny"
