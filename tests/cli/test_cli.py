"""The command line, in this process."""

import csv
import io
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

import featx
from featx.cache.joined import open_cache
from featx.cli.app import app
from featx.core.errors import CacheError
from featx.fitting.fit import fit_head

GROUP = typer.main.get_group(app)
COMMANDS = sorted(GROUP.commands)


@pytest.fixture
def place(
    photos: Path,
    photos_cache: Path,
    cache_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """A working folder with something of everything, right and wrong; the current one."""
    monkeypatch.chdir(tmp_path)
    fit_head("photos.h5", "head.joblib", C=1.0)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    (tmp_path / "nopath.csv").write_text("number,label\n1,ants\n")
    return tmp_path


def test_commands_end_to_end_do_what_they_say(place: Any, run_cli: Any) -> None:
    result = run_cli("extract", "photos/train", "-o", "new.h5", "--backbone", "tests-tiny")
    assert (result.code, result.list_notes()) == (0, [])
    assert result.out.startswith("new.h5: 8 rows, tests-tiny (dim 8), ")

    result = run_cli("info", "new.h5")
    assert (result.code, result.err) == (0, "")
    assert "new.h5: a cache of 8 rows, 1 embedding, 0 failures" in result.out
    assert run_cli("info", "new.h5", "--failures").out == "new.h5: no image failed\n"
    table = [
        line.split() for line in result.out.splitlines() if line[:4] in ("clas", "ants", "all ")
    ]
    assert table == [["class", "rows"], ["ants", "4"], ["all", "8"]]
    assert "embedding tests-tiny: 8 vectors of 8 float32, fingerprint " in result.out
    assert max(map(len, result.out.splitlines())) <= 100

    result = run_cli("split", "new.h5", "--val", "0.25")
    assert (result.code, result.out.splitlines()[0], result.err) == (
        0,
        "new.h5: train 6, val 2",
        "",
    )

    result = run_cli("fit-head", "new.h5", "-o", "new.joblib", "--cv", "3")
    assert (result.code, result.err) == (0, "")
    assert "2 classes, 6 rows (split train)" in result.out
    assert "held-out accuracy in 3 folds: 1.000 (95 % interval 0." in result.out

    result = run_cli("evaluate", "new.joblib", "new.h5")
    assert (result.code, result.err) == (0, "")
    assert "accuracy           1.000 (95 % interval 0." in result.out
    assert "2 rows" in result.out
    assert result.out.splitlines()[-2:] == [
        "ants                 1     0",
        "bees                 0     1",
    ]

    result = run_cli("predict", "new.joblib", "photos/val/bees/0.jpg", "photos/val/ants/0.jpg")
    assert (result.code, result.err) == (0, "")
    header, *lines = (line.split() for line in result.out.splitlines())
    assert header == ["path", "label", "score"]
    assert [line[:2] for line in lines] == [
        ["photos/val/bees/0.jpg", "bees"],
        ["photos/val/ants/0.jpg", "ants"],
    ]


EXTRACT = "extract photos -o new.h5 --backbone tests-tiny"
EXTEND = EXTRACT.replace("new.h5", "photos.h5")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (EXTRACT.replace("photos", "gone"), "gone: expected a folder, table, tar or image"),
        (EXTRACT.replace("photos", "empty"), "empty: expected at least one image, got none"),
        (
            EXTRACT.replace("photos", "nopath.csv"),
            "nopath.csv: expected a column of paths, such as path, file_name or image, got number",
        ),
        (EXTRACT.replace("new.h5", "no/new.h5"), "expected an existing folder"),
        (EXTRACT.replace("new.h5", "text.h5"), "text.h5: expected a sealed cache"),
        (EXTEND + " --dtype float16", "expected dtype float32, as in the vectors that are stored"),
        (EXTEND + " --batch-size 8", "expected batch_size 4, as in the vectors that are stored"),
        (
            EXTEND.replace("tests-tiny", "lenet5 --embedding tests-tiny"),
            "expected backbone tests-tiny",
        ),
        (EXTEND.replace("photos ", "bad.jpg "), "which has no image in common with it"),
        (EXTRACT.replace("new.h5", "empty"), "expected the path of a file, got a folder"),
        (EXTRACT + " --weights gone.pth", "gone.pth: expected a file of weights"),
        (EXTRACT + " --weights text.h5", "text.h5: expected a state dict"),
        (EXTRACT + " --device cuda:99", "device cuda:99: expected a CUDA device with that number"),
        (EXTRACT + " --engine torch --precision fp16", "precision fp16 on cpu: expected hardware"),
        (EXTEND + " --decode fast", "expected decoder pillow-exact/1"),
        ("doctor gone --device cpu -q", "gone: expected a folder, table, tar or image"),
        (EXTRACT + " --size 64", "expected no size, since the transform is the user's own, got 64"),
        (EXTRACT.replace("tests-tiny", "lenet5 --size 64"), "lenet5, size 64: expected a size"),
        ("info gone.h5", "a head or a file of weights, got no such file. Check the path and"),
        ("info text.h5", "text.h5: expected a cache, a head or a file of weights, got another"),
        ("split text.h5", "text.h5: expected a sealed cache"),
        ("info photos", "photos: expected a cache, a head or a file of weights, got a folder."),
        (
            EXTRACT.replace("photos", "photos.h5"),
            "got a cache, or another HDF5 file. A cache alone goes",
        ),
        (EXTRACT.replace("photos", "head.joblib"), "head.joblib: expected a folder, table, tar or"),
        (
            "predict head.joblib head.joblib",
            "got a head. Pass images; a head goes to",
        ),
        ("verify head.joblib", "expected a cache, got a head. Pass the cache that it was"),
        ("split head.joblib", "or show it: featx info head.joblib."),
        ("fit-head head.joblib -o new.joblib", "head.joblib: expected a cache, got a head."),
        ("fit-head photos -o new.joblib", "photos: expected a cache, got a folder. Make a cache"),
        ("evaluate photos.h5 photos.h5", "featx fit-head photos.h5 --output head.joblib."),
        ("evaluate head.joblib photos", "featx extract photos --output photos.h5."),
        ("predict photos photos", "photos: expected a head that featx wrote, got a folder."),
        ("split photos.h5", "without splits, or with the same ones, got train, val"),
        ("fit-head gone.h5 -o new.joblib", "gone.h5: expected a cache, got no such file"),
        ("fit-head photos.h5 -o no/new.joblib", "no/new.joblib: expected an existing folder"),
        ("fit-head photos.h5 -o new.joblib --split test", "expected rows in split 'test'"),
        ("fit-head photos.h5 -o new.joblib --embedding x", "expected one of its embeddings"),
        (
            "evaluate gone.joblib photos.h5",
            "gone.joblib: expected a head that featx wrote, got no such file",
        ),
        ("evaluate head.joblib cache.h5", "expected backbone tests-tiny"),
        ("evaluate head.joblib photos.h5 --split test", "in split 'test', got splits train, val"),
        (
            "predict gone.joblib photos",
            "gone.joblib: expected a head that featx wrote, got no such file",
        ),
        ("predict head.joblib gone", "gone: expected a folder, table, tar or image"),
        ("predict head.joblib empty", "empty: expected at least one image"),
        ("predict head.joblib cache.h5", "expected backbone tests-tiny"),
        ("predict head.joblib photos --weights gone.pth", "gone.pth: expected a file of weights"),
        ("predict head.joblib photos --device cuda:99", "device cuda:99: expected a CUDA device"),
    ],
)
def test_command_with_bad_input_ends_in_one_line_and_code_1(
    place: Any, run_cli: Any, line: str, message: str
) -> None:
    before = sorted(path.name for path in place.iterdir())
    run_cli(*line.split()).check_error(message)
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (EXTRACT.replace("tests-tiny", "resnet51"), "Nearest: resnet50"),
        (
            EXTRACT + " --layers conv9",
            "of tests-tiny, got 'conv9'. Nearest: conv",
        ),
        (EXTRACT + " --device gpu", "--device: expected auto, cpu, cuda"),
        (EXTRACT + " --size 0", "--size: expected 1 to 4096 pixels, got 0"),
        (
            EXTRACT + " --preprocess V9",
            "--preprocess: expected weights of tests-tiny",
        ),
        (EXTRACT + " --max-failures few", "--max-failures: expected a number such as 10"),
        ("backbones resnet51", "Nearest: resnet50"),
        ("split photos.h5 --overwrite --val 1.5", "--val, --test: expected "),
        ("split photos.h5 --overwrite --val 0.01", "among the 0 of 12 rows set aside"),
        (
            "fit-head photos.h5 -o new.joblib --kind svm",
            "got 'svm'. Nearest: rbf-svm, linear-svm.",
        ),
        ("fit-head photos.h5 -o new.joblib --C 0", "--C: expected"),
        ("fit-head photos.h5 -o new.joblib --seed -1", "--seed: expected"),
        (EXTRACT + " --engine onnx", "--engine: expected auto, torch or openvino, got 'onnx'."),
        (EXTRACT + " --precision fb16", "--precision: expected fp32, bf16 or fp16, got 'fb16'."),
        (EXTRACT + " --decode quick", "--decode: expected exact or fast, got 'quick'. Choose one"),
        (EXTRACT + " --dtype float8", "--dtype: expected float32 or float16, got 'float8'."),
        (EXTRACT.replace("tests-tiny", "resnet18 --weights V9"), "--weights: expected weights of"),
        (
            "fit-head photos.h5 -o new.joblib --class-weight heavy",
            "--class-weight: expected bal",
        ),
        ("fit-head photos.h5 -o new.joblib --split trian", "--split: expected train, val, test or"),
        ("evaluate head.joblib photos.h5 --split valid", "got 'valid'. Nearest: val"),
        ("doctor --backbone resnet51 -q", "--backbone: expected one of"),
        (EXTRACT + " --engine openvino --device mps", "--engine, --device: expected device cpu"),
        ("doctor --folder gone -q", "--folder: expected a writable folder"),
    ],
)
def test_wrong_value_of_an_option_ends_in_one_line_and_code_2(
    place: Any, run_cli: Any, line: str, message: str
) -> None:
    before = sorted(path.name for path in place.iterdir())
    run_cli(*line.split()).check_error(message, code=2)
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("evaluate photos.h5 head.joblib", "featx evaluate head.joblib photos.h5."),
        ("predict photos.h5 head.joblib", "featx predict head.joblib photos.h5."),
        ("explain bad.jpg head.joblib", "featx explain head.joblib bad.jpg."),
        ("report head.joblib photos.h5", "featx report photos.h5 head.joblib."),
        ("predict photos head.joblib", "featx predict head.joblib photos."),
        ("predict bad.jpg head.joblib", "featx predict head.joblib bad.jpg."),
        ("predict bad.jpg photos head.joblib", "featx predict head.joblib bad.jpg photos."),
        ("fit-head head.joblib -o photos.h5", "featx fit-head photos.h5 --output head.joblib."),
        ("extract photos.h5 -o photos", "featx extract photos --output photos.h5."),
        (
            "fine-tune photos.h5 --cache photos -o t.safetensors",
            "featx fine-tune photos --cache photos.h5 --output t.safetensors.",
        ),
    ],
)
def test_swapped_arguments_are_told_with_the_right_command(
    place: Any, run_cli: Any, line: str, right: str
) -> None:
    run_cli(*line.split()).check_error(f"Exchange the two: {right}", code=2)


def test_file_that_is_named_like_an_option_is_no_wrong_usage(place: Any, run_cli: Any) -> None:
    run_cli("verify", "cache").check_error("cache: expected a cache, got no such file", code=1)


def test_words_of_options_may_be_typed_in_capitals(place: Any, run_cli: Any) -> None:
    words = "--backbone TESTS-TINY --engine Torch --device CPU --precision FP32 --decode EXACT"
    assert run_cli(*f"extract photos -o new.h5 {words} --dtype Float16".split()).code == 0
    with open_cache("new.h5") as cache:
        assert cache.embeddings == ("tests-tiny",)
        assert cache.get_dtype("tests-tiny") == "float16"
    assert run_cli("fit-head", "new.h5", "-o", "new.joblib", "--kind", "LogReg").code == 0
    assert run_cli("evaluate", "new.joblib", "new.h5", "--split", "ALL").code == 0


def test_extract_cuda_where_there_is_none_is_refused(
    place: Any, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run_cli(*EXTRACT.split(), "--device", "cuda")
    assert result.code == 1
    assert result.err.startswith("featx: device cuda: expected a CUDA device")
    assert "--device cpu" in result.err
    assert not Path("new.h5").exists()


def test_extract_ends_with_where_the_time_went(place: Any, run_cli: Any) -> None:
    for path in place.glob("photos/*/*/*.jpg"):
        os.utime(path, (1e9, 1e9))  # images that changed a moment ago would be read again
    result = run_cli(*EXTRACT.split(), "--batch-size", "auto", "--workers", "auto")
    assert result.code == 0
    where, advice = result.err.splitlines()
    assert where.startswith("featx: openvino fp32 on cpu: ready after ")
    shares = [int(share) for share in re.findall(r"(\d+)%", where)]
    assert len(shares) == 5
    assert 97 <= sum(shares) <= 103
    assert advice == "featx: the run was too short to find its bottleneck"
    again = run_cli(*EXTRACT.split())
    assert (again.code, again.err) == (0, "")


@pytest.mark.slow
def test_doctor_prints_rates_and_advice(place: Any, run_cli: Any) -> None:
    line = ["doctor", "photos", "--backbone", "lenet5", "--device", "cpu"]
    result = run_cli(*line, "--thorough")
    assert (result.code, result.err) == (0, "")
    assert re.search(r"decode +\d+ \(exact\) and \d+ \(fast\) images/s", result.out)
    assert re.search(r"^openvino +fp32 +exact +\d+ +\d+$", result.out, re.MULTILINE)
    assert re.search(r"^torch +fp32 +fast +\d+ +\d+$", result.out, re.MULTILINE)
    assert "For featx extract:" in result.out

    result = run_cli(*line, "--json")
    found = json.loads(result.out)
    ways = {(one["engine"], one["precision"], one["decode"]) for one in found["speeds"]}
    assert {("openvino", "fp32", "exact"), ("openvino", "fp32", "fast")} <= ways


@pytest.mark.parametrize(
    "line",
    [
        "no-such-command",
        "extract",
        "extract photos",
        "extract photos -o new.h5 --batch-size 0",
        "extract photos -o new.h5 --size small",
        "extract photos -o new.h5 --workers 0",
        "extract photos -o new.h5 --workers all",
        "extract photos -o new.h5 --no-such-option",
        "info",
        "split photos.h5 --val much",
        "fit-head photos.h5",
        "fit-head photos.h5 -o new.joblib --cv many",
        "evaluate head.joblib",
        "predict head.joblib",
        "predict head.joblib photos --top 0",
        "predict head.joblib photos --xml",
        "verify photos.h5 --against photos --seed -1",
        "verify photos.h5 --against photos --sample 0",
        "fine-tune photos -o tuned.safetensors",
        "fine-tune photos --cache photos.h5",
        "fine-tune --cache photos.h5 -o tuned.safetensors",
        "fine-tune photos --cache photos.h5 -o tuned.safetensors --max-trunk-gb -1",
        "fine-tune photos --cache photos.h5 -o tuned.safetensors --epochs many",
        "fine-tune photos --cache photos.h5 -o tuned.safetensors --xml",
    ],
)
def test_command_used_wrongly_ends_in_code_2(run_cli: Any, line: str) -> None:
    result = run_cli(*line.split())
    assert result.code == 2
    assert "Usage: featx" in result.err
    assert "Error: " in result.err


def test_verify_says_what_is_wrong_in_words_of_the_command_line(place: Any, run_cli: Any) -> None:
    result = run_cli("verify", "text.h5")
    assert (result.code, result.err) == (1, "")
    assert result.out.startswith("text.h5: damaged, 0 rows, 0 vectors checked\n")
    assert "check and seal it with featx seal path." in result.out


def test_debug_lets_the_error_through(run_cli: Any, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"got no such file"):
        run_cli("--debug", "verify", tmp_path / "gone.h5")


def test_version_is_printed(run_cli: Any) -> None:
    result = run_cli("--version")
    assert (result.code, result.out) == (0, f"featx {featx.__version__}\n")


def test_extract_tells_of_failed_and_ignored_files_on_stderr(place: Any, run_cli: Any) -> None:
    Path("photos/train/ants/bad.jpg").write_bytes(b"no image")
    Path("photos/notes.txt").write_text("notes")
    result = run_cli(*EXTRACT.split(), "--max-failures", "1")
    assert result.code == 0
    assert result.out.startswith("new.h5: 12 rows")
    assert result.list_notes() == [
        "featx: passed over 1 .txt",
        "featx: 1 image failed. List them with featx info --failures new.h5.",
    ]
    listed = run_cli("info", "new.h5", "--failures").out
    words = listed.splitlines()[-1].split()
    assert words[0] == "photos/train/ants/bad.jpg"
    assert (
        "decode expected an image in a format that featx reads, got text that begins with"
        in " ".join(words)
    )
    found = json.loads(run_cli("info", "new.h5", "--failures", "--json").out)
    assert found["n_failures"] == 1
    assert found["failures"][0]["path"] == "photos/train/ants/bad.jpg"
    assert found["failures"][0]["stage"] == "decode"


def test_extract_options_reach_the_cache(place: Any, run_cli: Any) -> None:
    layers = ["--layers", "penultimate", "--layers", "conv"]
    result = run_cli(*EXTRACT.split(), *layers, "--dtype", "float16", "--overwrite")
    assert result.code == 0
    with open_cache("new.h5") as cache:
        assert cache.embeddings == ("tests-tiny", "tests-tiny@conv")
        assert cache.read_vectors("tests-tiny").dtype == "float16"


def test_extract_size_reaches_the_cache_and_its_head(place: Any, run_cli: Any) -> None:
    line = EXTRACT.replace("tests-tiny", "lenet5 --size 33")
    assert run_cli(*line.split()).code == 0
    with open_cache("new.h5") as cache:
        assert cache.get_info().provenance.origin.size == 33
    assert run_cli("verify", "new.h5", "--against", "photos").code == 0
    assert run_cli("fit-head", "new.h5", "-o", "new.joblib", "--C", "1").code == 0
    found = json.loads(run_cli("predict", "new.joblib", "photos/val", "--json").out)["predictions"]
    expected = json.loads(run_cli("predict", "new.joblib", "new.h5", "--json").out)
    expected = expected["predictions"][8:]
    assert [one["label"] for one in found] == [one["label"] for one in expected]
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in expected])


def test_info_json_parses(place: Any, run_cli: Any) -> None:
    found = json.loads(run_cli("info", "photos.h5", "--json").out)
    assert found["n_rows"] == 12
    assert found["labels"] == {"ants": 6, "bees": 6}
    assert found["splits"] == {"train": 8, "val": 4}
    assert found["counts"] == {
        "ants": {"train": 4, "val": 2},
        "bees": {"train": 4, "val": 2},
    }
    assert found["embeddings"]["tests-tiny"]["fingerprint"]["dim"] == 8
    assert (found["content"], found["cache"]) == ("cache", "photos.h5")
    assert "failures" not in found


def test_info_shows_classes_by_splits(place: Any, run_cli: Any) -> None:
    lines = run_cli("info", "photos.h5").out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("class"))
    assert [line.split() for line in lines[at : at + 4]] == [
        ["class", "train", "val", "all"],
        ["ants", "4", "2", "6"],
        ["bees", "4", "2", "6"],
        ["all", "8", "4", "12"],
    ]


def test_info_of_a_head_says_what_it_reads(place: Any, run_cli: Any) -> None:
    out = run_cli("info", "head.joblib").out
    assert out.startswith("head.joblib: a head, logreg, C 1\n")
    assert "fitted on  8 rows of photos.h5 (split train)" in out
    assert "classes    2: ants, bees" in out
    assert re.search(r"^options    scaling standard, temperature [\d.e-]+$", out, re.M)
    assert re.search(r"^reads      fingerprint \w{12}: tests-tiny penultimate, weights ", out, re.M)
    assert re.search(r"^unknown    told, at a rate of false alarms of 0\.\d+ or more$", out, re.M)
    assert f"versions   featx {featx.__version__}, numpy {np.__version__}, scikit-learn " in out
    found = json.loads(run_cli("info", "head.joblib", "--json").out)
    assert (found["content"], found["head"], found["kind"]) == ("head", "head.joblib", "logreg")
    assert found["embeddings"]["tests-tiny"]["fingerprint"]["backbone"] == "tests-tiny"
    assert found["temperature"] > 0
    assert found["knows_unknown"] is True
    assert found["versions"].keys() == {"featx", "numpy", "scikit-learn", "python"}


@pytest.mark.parametrize("name", ["own.pth", "own.safetensors"])
def test_info_of_weights_of_another_program_counts_them(
    place: Any, run_cli: Any, name: str
) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {"conv.weight": torch.zeros(4, 3, 2, 2), "conv.bias": torch.zeros(4)}
    (save_file if name.endswith("safetensors") else torch.save)(tensors, name)
    out = run_cli("info", name).out
    assert out.startswith(f"{name}: weights that another program wrote\n")
    assert f"--weights {name}" in out
    found = json.loads(run_cli("info", name, "--json").out)
    assert (found["content"], found["weights"]) == ("weights", name)
    assert (found["n_tensors"], found["n_parameters"]) == (2, 52)
    assert found["n_tensors_by_key"] == {"conv": 2}


def test_fit_head_json_parses(place: Any, run_cli: Any) -> None:
    found = json.loads(run_cli("fit-head", "photos.h5", "-o", "new.joblib", "--json").out)
    assert found["head"] == "new.joblib"
    assert found["classes"] == ["ants", "bees"]
    assert found["params"]["C"] > 0
    assert found["fitted_on"]["n_rows"] == 8
    assert found["cross_validation"]["scores"]["n_rows"] == 8
    assert Path("new.joblib").is_file()


def test_evaluate_json_parses(place: Any, run_cli: Any) -> None:
    result = run_cli("evaluate", "head.joblib", "photos.h5", "--json")
    found = json.loads(result.out)
    assert found["accuracy"] == 1
    assert found["n_rows"] == 4
    low, high = found["accuracy_ci95"]
    assert 0 < low < high <= 1
    assert result.err == ""


def test_evaluate_on_seen_rows_notes_it_on_stderr(place: Any, run_cli: Any) -> None:
    result = run_cli("evaluate", "head.joblib", "photos.h5", "--split", "all", "--json")
    assert json.loads(result.out)["n_seen"] == 8
    assert (
        result.err == "featx: 8 of 12 rows were used to fit the head: their scores are too high\n"
    )


def test_predict_csv_parses(place: Any, run_cli: Any) -> None:
    inputs = ["photos/val/ants/0.jpg", "bad.jpg", "photos/val/bees/0.jpg"]
    result = run_cli("predict", "head.joblib", *inputs, "--top", "2", "--csv")
    assert result.code == 0
    lines = list(csv.DictReader(io.StringIO(result.out)))
    assert list(lines[0]) == [
        *("path", "id", "true_label", "split"),
        *("label", "score", "label_2", "score_2", "unknown", "label_set", "abstained", "error"),
    ]
    assert [line["path"] for line in lines] == inputs
    assert [line["label"] for line in lines] == ["ants", "", "bees"]
    assert [line["label_2"] for line in lines] == ["bees", "", "ants"]
    assert float(lines[0]["score"]) + float(lines[0]["score_2"]) == pytest.approx(1)
    assert [bool(line["error"]) for line in lines] == [False, True, False]


def test_predict_json_parses(place: Any, run_cli: Any) -> None:
    found = json.loads(run_cli("predict", "head.joblib", "photos/val", "bad.jpg", "--json").out)
    assert (found["head"], found["n_rows"], found["n_failures"]) == ("head.joblib", 5, 1)
    labels = [one["label"] for one in found["predictions"]]
    assert labels == ["ants", "ants", "bees", "bees", None]
    assert [bool(one["error"]) for one in found["predictions"]] == [False] * 4 + [True]


def test_predict_cache_needs_no_images(place: Any, run_cli: Any) -> None:
    found = json.loads(run_cli("predict", "head.joblib", "photos.h5", "--json").out)
    first = found["predictions"][0]
    assert (first["id"], first["true_label"]) == ("train/ants/0.jpg", "ants")
    assert (first["split"], first["label"]) == ("train", "ants")
    assert first["path"].endswith("photos/train/ants/0.jpg")
    header, line, *rest = run_cli("predict", "head.joblib", "photos.h5").out.splitlines()
    assert header.split() == ["id", "true", "label", "split", "label", "score"]
    assert line.split()[:4] == ["train/ants/0.jpg", "ants", "train", "ants"]
    assert len(rest) == 11


@pytest.mark.parametrize("form", [[], ["--csv"], ["--json"]])
def test_predict_files_that_all_fail_ends_in_code_1(place: Any, run_cli: Any, form: Any) -> None:
    result = run_cli("predict", "head.joblib", "bad.jpg", *form)
    assert result.code == 1
    assert result.err.startswith("featx: no prediction for 1 of 1 images, such as bad.jpg: ")
    assert "expected an image in a format that featx reads" in result.out


def test_predict_csv_of_files_that_all_fail_has_its_columns(place: Any, run_cli: Any) -> None:
    result = run_cli("predict", "head.joblib", "bad.jpg", "--csv")
    header, line = csv.reader(io.StringIO(result.out))
    assert header == [
        *("path", "id", "true_label", "split"),
        *("label", "score", "unknown", "label_set", "abstained", "error"),
    ]
    assert line[:9] == ["bad.jpg", "bad.jpg", "", "", "", "", "", "", ""]
    assert "expected an image in a format that featx reads" in line[9]


def test_predict_csv_and_json_together_is_wrong_usage(place: Any, run_cli: Any) -> None:
    run_cli("predict", "head.joblib", "photos", "--csv", "--json").check_error(
        "--csv, --json: expected one of them, got both.", code=2
    )


def test_predict_folders_that_are_no_classes_are_no_true_labels(place: Any, run_cli: Any) -> None:
    Path("new").mkdir()
    Path("photos/val").rename("new/batch-7")
    for label in ("ants", "bees"):
        for path in Path("new/batch-7", label).iterdir():
            path.rename(Path("new/batch-7", f"{label}-{path.name}"))
        Path("new/batch-7", label).rmdir()
    result = run_cli("predict", "head.joblib", "new")
    assert result.out.splitlines()[0].split() == ["path", "label", "score"]


def test_predict_table_with_ids_of_its_own_shows_them(place: Any, run_cli: Any) -> None:
    table = Path("ids.csv")
    table.write_text("path,id\nphotos/val/ants/0.jpg,plot-7\nphotos/val/bees/0.jpg,plot-9\n")
    header, *lines = run_cli("predict", "head.joblib", table).out.splitlines()
    assert header.split()[:2] == ["path", "id"]
    assert [line.split()[1] for line in lines] == ["plot-7", "plot-9"]


def test_backbones_pattern_lists_matches(run_cli: Any) -> None:
    header, *lines = run_cli("backbones", "resnet??").out.splitlines()
    assert header.split()[:2] == ["name", "dim"]
    assert [line.split()[:2] for line in lines] == [
        ["resnet18", "512"],
        ["resnet34", "512"],
        ["resnet50", "2048"],
    ]


def test_backbones_whole_name_shows_its_weights(run_cli: Any) -> None:
    out = run_cli("backbones", "resnet18").out
    assert out.startswith("resnet18: dim 512, He et al. 2015")
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in out
    assert "SHA-256 begins with f37072fd" in out


def test_backbones_json_parses(run_cli: Any) -> None:
    (found,) = json.loads(run_cli("backbones", "mobilenet_v2", "--json").out)["backbones"]
    assert found["dim"] == 1280
    assert [entry["weights"] for entry in found["named_weights"]] == [
        "IMAGENET1K_V1",
        "IMAGENET1K_V2",
    ]


def test_help_lists_all_commands(run_cli: Any) -> None:
    result = run_cli("--help")
    assert result.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.out


def list_examples(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip().startswith("featx ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_has_examples_that_parse(name: str) -> None:
    command = GROUP.commands[name]
    examples = list_examples(command.help)
    assert examples
    for example in examples:
        program, used, *arguments = shlex.split(example)
        assert (program, used) == ("featx", name)
        command.make_context(name, arguments)  # raises on wrong usage


def test_main_help_has_examples_that_parse() -> None:
    examples = list_examples(GROUP.help)
    assert examples
    for example in examples:
        _, name, *arguments = shlex.split(example)
        GROUP.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_options_are_all_explained(name: str) -> None:
    for parameter in GROUP.commands[name].params:
        assert getattr(parameter, "help", None), f"featx {name}: {parameter.name} has no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_documented_in_the_readme(name: str) -> None:
    readme = Path(__file__).parents[2] / "README.md"
    assert f"featx {name}" in readme.read_text(encoding="utf-8")


def test_fit_head_repeats_the_score_and_says_the_spread(
    cache_path: Path, tmp_path: Path, run_cli: Any
) -> None:
    words = ("fit-head", cache_path, "--cv", "3", "--repeats", "4")
    result = run_cli(*words, "-o", tmp_path / "head.joblib")
    assert result.code == 0
    assert "held-out accuracy in 3 folds, dealt 4 times: " in result.out
    assert " rows), of single dealings " in result.out
    assert "dealt 4 times" in run_cli("info", tmp_path / "head.joblib").out
    weighed = (*words, "--class-weight", "balanced", "-o", tmp_path / "weighed.joblib")
    assert "held-out balanced accuracy in 3 folds, dealt 4 times: " in run_cli(*weighed).out
    found = json.loads(run_cli(*words, "-o", tmp_path / "other.joblib", "--json").out)
    repeated = found["cross_validation"]["repeated"]
    assert (repeated["n_repeats"], len(repeated["accuracies"])) == (4, 4)
    assert repeated["accuracies"][0] == found["cross_validation"]["scores"]["accuracy"]
