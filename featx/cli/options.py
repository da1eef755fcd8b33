"""Arguments and options that several commands share."""

import csv
import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from featx.core.errors import FeatxError
from featx.core.typing import Count, EngineName, Scaling, find_choice, list_choices
from featx.heads.class_weights import ClassWeighting

SPEED = "Speed"
"""Section of the help for options that change the speed, and not the result."""

(BALANCED,) = list_choices(ClassWeighting)


def parse_count(text: str) -> Count:
    """Read a number of at least 1, or ``auto``."""
    if text.lower() == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"expected auto or a number of at least 1, got {text!r}.")
    return int(text)


def parse_device(text: str) -> str:
    """Read the name of a device in upper or lower case."""
    return text.strip().lower()


def parse_strength(text: str) -> float | None:
    """Read a number; ``auto`` is None."""
    if text.lower() == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"expected auto or a number, got {text!r}.") from None


def parse_class_weight(text: str) -> str | dict[str, float]:
    """Read ``balanced``, or the weights of classes.

    Parameters
    ----------
    text : str
        The word, or pairs such as ``ant=2,bee=0.5``. A pair with a comma or a quotation mark is
        quoted as in CSV.

    Examples
    --------
    >>> parse_class_weight('ant=2,"a, b=0.5"')
    {'ant': 2.0, 'a, b': 0.5}
    """
    if text.lower() == BALANCED:
        return text.lower()
    weights: dict[str, float] = {}
    with suppress(ValueError, csv.Error):
        pairs = next(csv.reader([text], strict=True), [])
        for pair in pairs:
            label, _, weight = pair.rpartition("=")
            weights[label.strip()] = float(weight)
        if weights and "" not in weights and len(weights) == len(pairs):
            return weights
    raise FeatxError(
        subject="class_weight",
        expected=f"{BALANCED}, or a number for each class, once",
        got=repr(text),
        remedy="Pass --class-weight ant=2,bee=0.5 or the like.",
    )


def leave_reading(command: Callable[..., None]) -> Callable[..., None]:
    """Let featx say that a file may not be read, in one line; typer calls it wrong usage.

    Parameters
    ----------
    command : callable
        Function of a command, whose options are changed.
    """
    for parameter in inspect.signature(command).parameters.values():
        for option in getattr(parameter.annotation, "__metadata__", ()):
            option.readable = False
    return command


def choose(name: str, vocabulary: Any, text: str, *, section: str | None = None) -> Any:
    """Build an option that takes one word of a vocabulary, in upper or lower case.

    Parameters
    ----------
    name : str
        Name of the argument, for the error of a wrong word.
    vocabulary : Literal or sequence of str
        Words to choose from; the help and the completion of the shell show them.
    text : str
        Help of the option.
    section : str, optional
        Section of the help. Default: the section without a name.
    """
    words = list_choices(vocabulary) or tuple(vocabulary)

    def parse(value: str) -> str:
        return find_choice(name, value, words)

    return typer.Option(
        parser=parse,
        metavar="|".join(words),
        autocompletion=complete_from(lambda: words),
        help=text,
        rich_help_panel=section,
    )


def complete_from(list_words: Callable[[], Sequence[str]]) -> Callable[[str], list[str]]:
    """Build a function that completes the beginning of a word, in upper or lower case.

    Parameters
    ----------
    list_words : callable
        Function that lists all words.
    """

    def complete(incomplete: str) -> list[str]:
        return [word for word in list_words() if word.startswith(incomplete.lower())]

    return complete


def list_backbone_names() -> list[str]:
    """List the names of all networks."""
    from featx.backbones.registry import list_backbones

    return list_backbones()


def _count(text: str) -> Any:
    """Build an option with the default ``auto``."""
    return typer.Option(parser=parse_count, metavar="auto|N", help=text, rich_help_panel=SPEED)


def backbone_option(*, section: str | None = None, default: str = "") -> Any:
    """Build the option that names a network; `default` says in words what its absence means."""
    stated = f"  [default: {default}]" if default else ""
    return typer.Option(
        metavar="NAME",
        autocompletion=complete_from(list_backbone_names),
        help=f"Name of the network; featx backbones lists them.{stated}",
        rich_help_panel=section,
    )


CacheArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="CACHE", help="Cache written by featx extract; or several as one; or their folder."
    ),
]
HeadArgument = Annotated[
    Path, typer.Argument(metavar="HEAD", help="Head written by featx fit-head.")
]
Engine = Annotated[
    EngineName, choose("engine", EngineName, "Engine that runs the network.", section=SPEED)
]
Device = Annotated[
    str,
    typer.Option(
        parser=parse_device,
        metavar="auto|cpu|cuda|cuda:N|mps",
        autocompletion=complete_from(lambda: ["auto", "cpu", "cuda", "mps"]),
        help="Device that runs the network: cuda is all GPUs (experimental), cuda:N is one.",
        rich_help_panel=SPEED,
    ),
]
BatchSize = Annotated[Any, _count("Number of images per batch.")]
Workers = Annotated[Any, _count("Number of threads that read and decode.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Embedding = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Name of the embedding; needed only if the cache has several."
    ),
]
ClassWeights = Annotated[
    Any,
    typer.Option(
        parser=parse_class_weight,
        metavar=f"{BALANCED}|CLASS=N,...",
        autocompletion=complete_from(lambda: [BALANCED]),
        help=f"{BALANCED}: weigh all classes equally; or weights, 1 for the other classes.",
    ),
]
HeadScaling = Annotated[
    Scaling | None,
    choose(
        "scaling",
        Scaling,
        "Scaling: of each channel (standard), of each row to length 1 (l2), or none.  "
        "[default: standard]",
    ),
]
Embeddings = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Name of the embedding; needed only if the cache has several. Given several times, "
        "the embeddings are read side by side.",
    ),
]
Author = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Name of the person, for the history.  [default: user of the system]"
    ),
]
WeightsNow = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Current path of the backbone's weights, if they were moved."
    ),
]
SheetOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Contact sheet (.png, .jpg, .webp) or page (.html) to write.",
    ),
]
ImageSource = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE",
        help="Source of the images, if it was moved; may be repeated.  [default: the source that "
        "the cache names]",
    ),
]
Register = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="Function that registers your own network; may be repeated. The module lies in the "
        "working folder or is installed.",
    ),
]
