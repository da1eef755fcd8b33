"""Python arguments and calls in an error become flags and commands."""

import pytest
from typer.main import get_group

from featx.cli.app import app
from featx.cli.flags import Flag, get_exit_code, list_flags, render_error, translate
from featx.core.errors import CacheError, FeatxError, TooManyFailuresError

FLAGS = {
    "overwrite": Flag("--overwrite", True),
    "weights": Flag("--weights", False),
    "batch_size": Flag("--batch-size", False),
    "max_failures": Flag("--max-failures", False),
    "val": Flag("--val", False),
    "class_weight": Flag("--class-weight", False),
}
GROUP = get_group(app)
COMMANDS = {"extract", "fit-head", "info", "split"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pass overwrite=True.", "Pass --overwrite."),
        ("Pass overwrite=True to replace it.", "Pass --overwrite to replace it."),
        ("Pass weights=FILE, or extract again.", "Pass --weights FILE, or extract again."),
        ('Pass weights="random:0".', "Pass --weights random:0."),
        ("Pass class_weight={'ant': 2.0} to weigh", "Pass --class-weight ant=2.0 to weigh"),
        ("class_weight={'a, b': 1e-06}", "--class-weight 'a, b=1e-06'"),
        ("Pass nothing={'ant': 2.0}", "Pass nothing={'ant': 2.0}"),
        ("Pass a smaller batch_size.", "Pass a smaller --batch-size."),
        ("Pass max_failures=5% or more.", "Pass --max-failures 5% or more."),
        ("Run featx.split_cache(CACHE, val=0.2).", "Run featx split CACHE --val 0.2."),
        ("Run: featx.split_cache('a', ['b', 'c']).", "Run: featx split a b c."),
        ("Fit one: featx.fit_head(cache).", "Fit one: featx fit-head cache."),
        ("Extract it with featx.extract.", "Extract it with featx extract."),
        ("Load it with featx.load_backbone.", "Load it with featx.load_backbone."),
        ("List them: featx.read_failures('a.h5').", "List them: featx info --failures a.h5."),
        ("Add it by featx.register_backbone(name).", "Add it by --register MODULE:FUNCTION."),
        ("Pass nothing=here.", "Pass nothing=here."),
        ("Look at weights and a val split.", "Look at weights and a val split."),
        ("Run: mkdir -p /data/batch_size", "Run: mkdir -p /data/batch_size"),
        ("Run: rm -r batch_size/c.h5.partial", "Run: rm -r batch_size/c.h5.partial"),
        ("Name batch_size.csv.", "Name batch_size.csv."),
        ("Look at /data/val=1/c.h5.", "Look at /data/val=1/c.h5."),
    ],
)  # fmt: skip
def test_translate_text_is_in_the_words_of_the_command_line(text: str, expected: str) -> None:
    assert translate(text, FLAGS, COMMANDS) == expected


def test_list_flags_knows_switches_from_options() -> None:
    flags = list_flags(GROUP)
    assert flags["overwrite"] == Flag("--overwrite", True)
    assert flags["batch_size"] == Flag("--batch-size", False)
    assert flags["shard_seconds"] == Flag("--shard-seconds", False)


def test_render_error_of_an_argument_names_its_flag() -> None:
    error = FeatxError(
        subject="batch_size", expected="at least 1", got="0", remedy="Pass batch_size=auto."
    )
    assert render_error(error, GROUP) == (
        "--batch-size: expected at least 1, got 0. Pass --batch-size auto."
    )


@pytest.mark.parametrize(
    ("subject", "command", "expected"),
    [
        ("val, test", "split", "--val, --test"),
        ("C", "fit-head", "--C"),
        ("backbone", "extract", "--backbone"),
        ("backbone", "backbones", "backbone"),  # an argument of this command, and no option
        ("a.jpg, b.jpg", "predict", "a.jpg, b.jpg"),
    ],
)
def test_render_error_names_flags_of_the_command_that_ran(
    subject: str, command: str, expected: str
) -> None:
    error = FeatxError(subject=subject, expected="x", got="y", remedy="Do z.")
    assert render_error(error, GROUP, command) == f"{expected}: expected x, got y. Do z."


def test_render_error_of_a_file_keeps_its_name() -> None:
    error = CacheError(
        subject="a_cache.h5", expected="a cache", got="nothing", remedy="Run featx.extract."
    )
    assert render_error(error, GROUP) == (
        "a_cache.h5: expected a cache, got nothing. Run featx extract."
    )


@pytest.mark.parametrize(
    ("subject", "words", "code"),
    [
        ("size", "extract photos --size 0", 2),
        ("val, test", "split photos.h5 --val 2", 2),
        ("backbone", "backbones resnet51", 2),
        ("size", "evaluate head.joblib photos.h5", 1),
        ("lenet5, size 64", "extract photos --size 64", 1),
        ("photos.h5", "info photos.h5", 1),
        ("cache", "verify cache", 1),
        ("size", "gone", 1),
    ],
)
def test_get_exit_code_of_an_argument_is_2(subject: str, words: str, code: int) -> None:
    error = FeatxError(subject=subject, expected="x", got="y", remedy="Do z.")
    assert get_exit_code(error, GROUP, words.split()) == code


def test_get_exit_code_of_too_many_failures_is_its_own() -> None:
    error = TooManyFailuresError(subject="photos", expected="x", got="y", remedy="Do z.")
    assert get_exit_code(error, GROUP, ["extract", "photos"]) == 3
