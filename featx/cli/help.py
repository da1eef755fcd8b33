"""The help screens: plain text that fits the terminal, with options in sections.

typer's own screens import rich, which takes as long as all the rest of ``featx --help``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

Context = Any
Formatter = Any
"""typer's context and formatter of a help screen, whose types typer does not name in public."""

MAX_WIDTH = 100
"""Largest number of columns of a help screen."""

EXAMPLE = "featx "
"""First word of a paragraph of a help text that is an example."""


class HelpCommand(TyperCommand):
    """A command whose help shows arguments, sections of options, and examples as they are typed."""

    def collect_usage_pieces(self, ctx: Context) -> list[str]:  # noqa: ARG002
        """List the words of the usage line behind the command's name."""
        return ["[OPTIONS]", *(name for name, _ in self._list_arguments())]

    def format_help_text(self, ctx: Context, formatter: Formatter) -> None:  # noqa: ARG002
        """Write the help text."""
        write_text(self.help or "", formatter)

    def format_options(self, ctx: Context, formatter: Formatter) -> None:
        """Write arguments, and options in their sections."""
        write_section("Arguments", self._list_arguments(), formatter)
        write_options(self.get_params(ctx), formatter)

    def _list_arguments(self) -> list[tuple[str, str]]:
        found = []
        for parameter in self.params:
            if parameter.param_type_name == "argument":
                name = f"{parameter.metavar}..." if parameter.nargs != 1 else str(parameter.metavar)
                help_text = getattr(parameter, "help", None) or ""
                found.append((name if parameter.required else f"[{name}]", help_text))
        return found


class HelpGroup(TyperGroup):
    """All commands; the help shows them in sections, each with its whole first sentence."""

    def format_help_text(self, ctx: Context, formatter: Formatter) -> None:  # noqa: ARG002
        """Write the help text."""
        write_text(self.help or "", formatter)

    def format_options(self, ctx: Context, formatter: Formatter) -> None:
        """Write commands and options."""
        lines = [
            (getattr(command, "rich_help_panel", None) or "Commands", name, command.help or "")
            for name, command in self.commands.items()
        ]
        for title, group in itertools.groupby(lines, lambda line: line[0]):
            rows = [(name, " ".join(text.split("\n\n")[0].split())) for _, name, text in group]
            write_section(title, rows, formatter, first=12)
        write_options(self.get_params(ctx), formatter)


def write_text(text: str, formatter: Formatter) -> None:
    """Write a help text; examples stand behind the prose, and are not wrapped.

    Parameters
    ----------
    text : str
        Paragraphs; those that begin with ``featx`` are examples.
    formatter : HelpFormatter
        The screen to write to.
    """
    paragraphs = re.split(r"\n\s*\n", text)
    prose = [one for one in paragraphs if not one.startswith(EXAMPLE)]
    examples = [one for one in paragraphs if one.startswith(EXAMPLE)]
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text("\n\n".join(prose))
    if examples:
        with formatter.section("Examples" if len(examples) > 1 else "Example"):
            for example in examples:
                formatter.write(f"  {example}\n")


def write_options(parameters: Iterable[Any], formatter: Formatter) -> None:
    """Write options by section, in the order in which the sections first come.

    Parameters
    ----------
    parameters : iterable of Parameter
        Parameters of a command.
    formatter : HelpFormatter
        The screen to write to.
    """
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        if parameter.param_type_name == "option" and not parameter.hidden:
            title = getattr(parameter, "rich_help_panel", None) or "Options"
            sections.setdefault(title, []).append(describe_option(parameter))
    for title, rows in sections.items():
        write_section(title, rows, formatter)


def describe_option(option: Any) -> tuple[str, str]:
    """Describe an option: its names with the value that it takes, and its help with the default.

    Parameters
    ----------
    option : TyperOption
        The option.

    Returns
    -------
    names, text : str
        The two columns of the help.
    """
    names = "/".join([", ".join(sorted(option.opts, key=len)), *option.secondary_opts])
    text = option.help or ""
    if not getattr(option, "is_flag", False):
        names = f"{names} {option.metavar}"
        default = option.default
        if option.required:
            text = f"{text}  [required]"
        elif default is not None and "[default:" not in text:
            shown = f"{default:g}" if isinstance(default, float) else default
            text = f"{text}  [default: {shown}]"
    return names, text


def write_section(
    title: str, rows: Sequence[tuple[str, str]], formatter: Formatter, *, first: int = 26
) -> None:
    """Write a heading with two columns below it.

    Parameters
    ----------
    title : str
        Heading.
    rows : sequence of (str, str)
        Names and texts.
    formatter : HelpFormatter
        The screen to write to.
    first : int
        Width of the first column; a longer name has its text on the next line.
    """
    if rows:
        # All sections of a screen share the width of the first column.
        padded = [(name.ljust(first), text) for name, text in rows]
        with formatter.section(title):
            formatter.write_dl(padded, col_max=first)
