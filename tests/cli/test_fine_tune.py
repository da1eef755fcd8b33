"""The command line of fine-tuning, in this process."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featx
from featx.finetune.measured import MEASURED, Spread
from featx.finetune.recipe import Recipe
from featx.finetune.report import TuningReport
from featx.fitting.fit import fit_head
from featx.fitting.learning_curve import CurvePoint

TUNE = "fine-tune photos --cache photos.h5 --head head.joblib -o tuned.safetensors"
VERDICT = re.compile(r"Tuning (helped|made|did not help)\b")
FAST = " --unfreeze 1 --epochs 2 --train-batch-size 8 --engine torch --device cpu"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Faint stripes of two directions, with their cache and a head."""
    folder = tmp_path_factory.mktemp("kept")
    rng = np.random.default_rng(0)
    wave = 15 * np.sin(np.arange(40))[:, None, None]
    for split, count in (("train", 12), ("val", 6)):
        for label, stripes in (("columns", wave.swapaxes(0, 1)), ("rows", wave)):
            (folder / "photos" / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = 128 + stripes + rng.normal(0, 30, (40, 40, 3))
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(folder / "photos" / split / label / f"{number}.png")
    cache = folder / "photos.h5"
    options: dict[str, Any] = {"engine": "torch", "device": "cpu", "progress": False}
    featx.extract(folder / "photos", cache, backbone="lenet5", **options)
    fit_head(cache, folder / "head.joblib", C=1e-3)
    return folder


@pytest.fixture
def place(kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A working folder with photos, their cache and a head; the current one."""
    for path in kept.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "text.h5").write_text("no HDF5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def list_names(folder: Path) -> Any:
    return sorted(path.name for path in folder.iterdir())


def test_fine_tune_prints_epochs_scores_and_verdict(place: Any, run_cli: Any) -> None:
    before = list_names(place)
    result = run_cli(*(TUNE + FAST).split())
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "lenet5: f6 unfrozen, 19 images to learn from, 5 to decide when to stop"
    assert lines[1].startswith("2 epochs of ")
    assert ": the learning rate rises for " in lines[1]
    assert lines[3].split("  ")[0] == "epoch"
    assert [line.split()[0] for line in lines[4:7]] == ["0", "1", "2"]
    assert lines[4].split()[1] == "-"  # nothing was learnt before epoch 1
    assert all(0 < float(line.split()[2]) < 10 for line in lines[4:7])
    assert lines[8].startswith("kept the weights of epoch ")
    words = "model accuracy on val balanced accuracy 95 % interval of accuracy"
    assert lines[10].split() == words.split()
    assert [line.split()[0] for line in lines[11:13]] == ["frozen", "tuned"]
    assert VERDICT.match(lines[-1])
    assert " on 12 val images (95 % interval " in lines[-1]
    assert "the output of the trunk is in tuned.trunk.h5 (0 MB" in result.err
    outputs = ["tuned.joblib", "tuned.log.csv", "tuned.safetensors", "tuned.trunk.h5"]
    assert list_names(place) == sorted(before + outputs)

    assert lines[14].split() == ["class", "rows", "recall,", "frozen", "head", "recall,", "tuned"]
    assert [line.split()[:2] for line in lines[15:17]] == [["columns", "6"], ["rows", "6"]]

    again = run_cli(*(TUNE + FAST + " --resume").split())
    assert (again.code, again.out.splitlines()[2:]) == (0, lines[2:])
    assert "featx: tuned.safetensors: the run is finished, and nothing is done again" in again.err
    other = run_cli(*(TUNE + FAST + " --resume --lr 0.5").split())
    other.check_error("expected the finished run of the same plan, got one with another lr. Name")

    result = run_cli("predict", "tuned.joblib", "photos/val", "--json")
    assert (result.code, json.loads(result.out)["n_rows"]) == (0, 12)

    out = run_cli("info", "tuned.safetensors").out
    assert out.startswith("tuned.safetensors: weights of lenet5, tuned by featx fine-tune\n")
    assert "trained    f6, from DEFAULT\nclasses    2: columns, rows\n" in out
    result = run_cli("info", "tuned.safetensors", "--json")
    record = json.loads(result.out)
    assert (record["backbone"], record["classes"]) == ("lenet5", ["columns", "rows"])


def test_fine_tune_of_many_epochs_prints_some_of_them(place: Any, run_cli: Any) -> None:
    result = run_cli(*(TUNE + FAST + " --epochs 50 --lr 1e-30").split())
    assert result.code == 0
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines[4:22]] == [*map(str, range(0, 51, 3)), "50"]
    assert lines[22] == "(one epoch of 3; all are in tuned.log.csv)"
    assert len((place / "tuned.log.csv").read_text().splitlines()) == 1 + 51


def test_fine_tune_json_is_the_report(place: Any, run_cli: Any) -> None:
    result = run_cli(*(TUNE + FAST + " --max-trunk-gb 0 --json").split())
    assert result.code == 0
    found = json.loads(result.out)
    renamed = {
        **{"path": "weights", "head_path": "head", "log_path": "log", "trunk_path": "trunk"},
        **{"scores": "comparison", "advice": "estimate"},
    }
    names = {renamed.get(one.name, one.name) for one in fields(TuningReport)}
    assert set(found) == names | {"cache", "verdict"}
    assert (found["n_train"], found["n_holdout"], found["blocks"]) == (19, 5, ["f6"])
    assert (found["weights"], found["head"]) == ("tuned.safetensors", "tuned.joblib")
    assert found["history"][0]["train_loss"] is None
    assert found["history"][1]["train_loss"] > 0
    assert (found["comparison"]["n_rows"], found["split"]) == (12, "val")
    assert isinstance(found["comparison"]["is_better"], bool)
    assert VERDICT.match(found["verdict"])
    assert (found["trunk"], found["estimate"]) == (None, None)


def test_fine_tune_without_space_for_the_trunk_says_so(place: Any, run_cli: Any) -> None:
    result = run_cli(*(TUNE + FAST + " --max-trunk-gb 0").split())
    assert result.code == 0
    assert "featx: the output of the trunk was not kept: it would be 0.00 GB" in result.err
    assert "tuned.trunk.h5" not in list_names(place)


def test_fine_tune_that_stops_early_says_why(place: Any, run_cli: Any) -> None:
    options = " --lr 1e-30 --epochs 8 --patience 1"
    result = run_cli(*(TUNE + FAST + options).split())
    assert result.code == 0
    assert "featx: stopped: after epoch 6 of 8, because 1 epoch at low learning rates" in result.err
    assert "kept the weights of epoch 0" in result.out
    assert "Stay with the frozen head: " in result.out


def test_fine_tune_options_reach_the_recipe(
    place: Any, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def catch(*args: Any, **options: Any) -> None:
        caught.update(options, args=args)
        raise featx.TuningError(subject="tuning", expected="nothing", got="caught", remedy="Stop.")

    caught: dict[str, Any] = {}
    monkeypatch.setattr("featx.finetune.tune.fine_tune", catch)
    expected = Recipe(
        optimizer="sgd",
        lr=0.5,
        lr_decay=0.7,
        weight_decay=0.3,
        epochs=7,
        warmup=0.2,
        train_batch_size=5,
        clip_norm=3.0,
        label_smoothing=0.05,
        patience=4,
        views=6,
        train_batchnorm=True,
        precision="fp32",
        seed=9,
    )
    line = TUNE + " --train-batchnorm --resume --overwrite --max-trunk-gb 1.5 --unfreeze 3"
    for one in fields(Recipe):
        if one.name != "train_batchnorm":
            line += f" --{one.name.replace('_', '-')} {getattr(expected, one.name)}"
    line += " --embedding e --split test --weights w.pth --trunk t.h5 --engine torch"
    line += " --device cpu --workers 3"
    assert run_cli(*line.split()).code == 1
    assert caught["recipe"] == expected
    got = {key: str(value) for key, value in caught.items() if key not in ("recipe", "args")}
    assert got == {
        "head": "head.joblib",
        "unfreeze": "3",
        "embedding": "e",
        "split": "test",
        "weights": "w.pth",
        "trunk": "t.h5",
        "max_trunk_gb": "1.5",
        "resume": "True",
        "overwrite": "True",
        "break_lock": "False",
        "engine": "torch",
        "device": "cpu",
        "workers": "3",
    }
    *sources, output = caught["args"]
    assert sources == [[Path("photos")], [Path("photos.h5")]]
    assert str(output) == "tuned.safetensors"


def test_fine_tune_defaults_are_the_recipes(
    place: Any, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught: dict[str, Any] = {}

    def catch(*args: Any, **options: Any) -> None:
        caught.update(options)
        raise featx.TuningError(subject="tuning", expected="nothing", got="caught", remedy="Stop.")

    monkeypatch.setattr("featx.finetune.tune.fine_tune", catch)
    assert run_cli(*TUNE.split()).code == 1
    assert caught["recipe"] == Recipe()
    assert (caught["unfreeze"], caught["max_trunk_gb"]) == ("auto", None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (TUNE.replace(".safetensors", ".pth"), "expected a name that ends in .safetensors"),
        (TUNE.replace("-o ", "-o no/"), "no/tuned.safetensors: expected"),
        (TUNE.replace("photos.h5", "gone.h5"), "gone.h5: expected a cache, got no such file"),
        (TUNE.replace("photos.h5", "text.h5"), "text.h5: expected a sealed cache"),
        (TUNE.replace("head.joblib", "gone.joblib"), "gone.joblib: expected a head"),
        (TUNE.replace("photos ", "gone "), "gone: expected a folder, table, tar or image"),
        (TUNE.replace("photos ", "photos/val "), "expected all of its 24 rows in the source"),
        (TUNE + " --split test", "in split 'test', got splits train, val"),
        (TUNE + " --embedding x", "expected one of its embeddings"),
        (TUNE + " --trunk photos.h5", "photos.h5: expected a file of its own"),
        (TUNE + FAST + " --trunk text.h5", "text.h5: expected a sealed cache"),
        (TUNE + " --device cuda:99", "device cuda:99: expected a CUDA device with that number"),
        (TUNE + FAST + " --weights gone.pth", "gone.pth: expected a file of weights"),
    ],
)
def test_fine_tune_with_bad_input_ends_in_one_line_and_code_1(
    place: Any, run_cli: Any, line: str, message: str
) -> None:
    before = list_names(place)
    run_cli(*line.split()).check_error(message)
    after = [name for name in list_names(place) if name != "tuned.trunk.h5"]  # of use to the next
    assert after == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (TUNE + " --unfreeze two", "--unfreeze: expected a number of blocks or auto, got 'two'"),
        (TUNE + " --unfreeze 0", "--unfreeze: expected 1 to 4 blocks of lenet5, got 0"),
        (TUNE + " --unfreeze -1", "--unfreeze: expected "),
        (TUNE + " --unfreeze 5", "--unfreeze: expected 1 to 4 blocks of lenet5, got 5"),
        (TUNE + " --split train", "--split: expected val or test, got 'train'"),
        (
            TUNE + " --train-batchnorm --train-batch-size 1",
            "--train-batchnorm: expected batches of",
        ),
        (TUNE + " --label-smoothing 1", "--label-smoothing: expected a share below 1"),
        (TUNE + FAST + " --views 3", "--views: expected at most 2, because each of 2 epochs"),
        (TUNE + FAST + " --lr-decay 0.5", "--lr-decay: expected several blocks"),
        (TUNE + " --trunk t.h5 --max-trunk-gb 0", "--trunk: expected a limit"),
        (TUNE + " --lr 0", "--lr: expected a number above 0"),
        (TUNE + " --epochs 0", "--epochs: expected at least 1, got 0"),
        (TUNE + " --device cpu --precision bf16", "--precision: expected fp32"),
        (TUNE + FAST + " --train-batchnorm", "--train-batchnorm: expected BatchNorm"),
        (
            TUNE + " --optimizer adagrad",
            "--optimizer: expected adamw, adam or sgd, got 'adagrad'.",
        ),
        (
            TUNE + " --precision fp16",
            "--precision: expected fp32 or bf16, got 'fp16'.",
        ),
    ],
)
def test_fine_tune_with_a_wrong_value_ends_in_one_line_and_code_2(
    place: Any, run_cli: Any, line: str, message: str
) -> None:
    before = list_names(place)
    run_cli(*line.split()).check_error(message, code=2)
    after = [name for name in list_names(place) if name != "tuned.trunk.h5"]  # of use to the next
    assert after == before


def test_fine_tune_help_names_every_part_of_the_recipe(run_cli: Any) -> None:
    result = run_cli("fine-tune", "--help")
    for one in fields(Recipe):
        assert f"--{one.name.replace('_', '-')}" in result.out


@pytest.mark.parametrize(
    ("n_blocks", "options", "last"),
    [
        (0, [], "Stay frozen.\n"),
        (
            1,
            [],
            "Unfreeze the top block.\n"
            "Run: featx fine-tune SOURCE --cache photos.h5 -o tuned.safetensors\n",
        ),
        (
            5,
            ["--embedding", "two"],
            "Unfreeze the top 5 blocks.\n"
            "Run: featx fine-tune SOURCE --cache photos.h5 --embedding two -o tuned.safetensors\n",
        ),
    ],
)
def test_advice_ends_with_the_command_that_follows_it(
    run_cli: Any, monkeypatch: pytest.MonkeyPatch, n_blocks: int, options: list[str], last: str
) -> None:
    advice = featx.Advice(
        unfreeze=n_blocks,
        curve=(CurvePoint(rows_per_class=8.0, accuracy=0.5, accuracy_ci95=(0.25, 0.75)),),
        majority_accuracy=0.125,
        is_chance=False,
        gain_top=Spread(0.0, 0.0, 0.0),
        gain_more=Spread(0.0, 0.0, 0.0),
        reasons=("It was measured.",),
        measured=MEASURED,
    )
    monkeypatch.setattr("featx.finetune.advise.advise", lambda *_, **__: advice)
    out = run_cli("advise", "photos.h5", *options).out
    assert out.splitlines()[1].split() == ["8", "0.500", "0.250", "0.750"]
    assert out.splitlines()[2] == "always the most frequent class: 0.125"
    assert out.endswith(f"\n\nIt was measured.\n\n{last}")
