"""The app: every command under its name, in the order of the help.

The modules of commands do without ``from __future__ import annotations``: typer would compile each
annotation twice, a tenth of the time that ``featx --help`` takes.
"""

from collections.abc import Callable
from typing import Annotated

import typer

from featx.cli.advise import advise
from featx.cli.audit import audit
from featx.cli.backbones import backbones
from featx.cli.classify import classify
from featx.cli.compare import compare
from featx.cli.demo import demo
from featx.cli.doctor import doctor
from featx.cli.evaluate import evaluate
from featx.cli.explain import explain
from featx.cli.explore import explore
from featx.cli.export import export
from featx.cli.extract import extract
from featx.cli.fine_tune import fine_tune
from featx.cli.fit_head import fit_head
from featx.cli.help import MAX_WIDTH, HelpCommand, HelpGroup
from featx.cli.import_vectors import import_vectors
from featx.cli.info import info
from featx.cli.label import label
from featx.cli.merge import merge
from featx.cli.montage import montage
from featx.cli.options import leave_reading
from featx.cli.plot import plot
from featx.cli.predict import predict
from featx.cli.printing import print_text, show_notes
from featx.cli.report import report
from featx.cli.seal import seal
from featx.cli.search import search
from featx.cli.settings import OPTIONS
from featx.cli.split import split
from featx.cli.suggest import suggest
from featx.cli.verify import verify

SECTIONS: dict[str, dict[str, Callable[..., None]]] = {
    "Try it": {"demo": demo},
    "From images to predictions": {
        "extract": extract,
        "merge": merge,
        "label": label,
        "split": split,
        "fit-head": fit_head,
        "evaluate": evaluate,
        "compare": compare,
        "predict": predict,
        "explain": explain,
        "classify": classify,
    },
    "Look into the images": {
        "report": report,
        "audit": audit,
        "search": search,
        "montage": montage,
        "plot": plot,
        "suggest": suggest,
        "explore": explore,
    },
    "To and from other programs": {"export": export, "import": import_vectors},
    "Train the network too": {"advise": advise, "fine-tune": fine_tune},
    "Look and check": {
        "info": info,
        "verify": verify,
        "seal": seal,
        "backbones": backbones,
        "doctor": doctor,
    },
}
"""The commands by the section of the help that lists them."""

COMMANDS: dict[str, Callable[..., None]] = {
    name: command for section in SECTIONS.values() for name, command in section.items()
}

app = typer.Typer(
    name="featx",
    cls=HelpGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": MAX_WIDTH},
)
for title, section in SECTIONS.items():
    for name, command in section.items():
        app.command(name, cls=HelpCommand, rich_help_panel=title)(leave_reading(command))


def _print_version(value: bool) -> None:
    if value:
        import featx

        print_text(f"featx {featx.__version__}")
        raise typer.Exit


@app.callback()
def _start(
    context: typer.Context,
    # `main` handles these options, anywhere on the line; they are here for the help text.
    _progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help=OPTIONS["--progress"][0])
    ] = False,
    _quiet: Annotated[bool, typer.Option("--quiet", "-q", help=OPTIONS["--quiet"][0])] = False,
    _verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help=OPTIONS["--verbose"][0])
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help=OPTIONS["--debug"][0])] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Embed images with frozen convnets, store the embeddings in one HDF5 file, fit heads on it.

    featx extract photos/ -o photos.h5 --backbone resnet50

    featx fit-head photos.h5 -o head.joblib
    """
    context.with_resource(show_notes(context))
