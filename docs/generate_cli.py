"""Write the command-line reference from the app itself.

    python docs/generate_cli.py

The signatures and help texts of the commands are read directly, because what typer prints depends
on its version and on the width of the terminal.
"""

from __future__ import annotations

import inspect
import itertools
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from featx.cli.app import COMMANDS
from featx.cli.settings import OPTIONS, SHORT

PAGE = Path(__file__).parent / "reference" / "cli.md"

HEADER = """\
# Command line

This page is generated from the commands: `python docs/generate_cli.py`. `featx COMMAND --help`
prints the same. `featx --version` prints the version, and `python -m featx` is `featx`.

Words that an option chooses from, names of networks and names of weights may be typed in upper or
lower case. `featx --install-completion` lets the shell complete commands, options, these words and
the names of networks. `--json` prints one object in all commands; [its keys](json.md) mean the same
everywhere. Tables fit the terminal; off a terminal they are plain text, with nothing left out.

| option, anywhere on the line | meaning |
|---|---|
{options}

| exit code | meaning |
|---|---|
| 0 | The command is done. Some images may have failed, within `--max-failures`. |
| 1 | An error, told in one line on standard error. |
| 2 | Wrong usage: an option that does not exist, or a value that an option does not take. |
| 3 | More images failed than `--max-failures` allows. |
| 129, 130, 143 | The command was hung up (SIGHUP), interrupted (Ctrl-C) or terminated (SIGTERM). |
| 141 | Nobody reads the output any more, as in `\\| head -1`. |
"""

STATED_DEFAULT = re.compile(r"\s*\[default: (.*)\]$")
"""A default that a help text states in words, because the parameter's own default is None."""


def render_reference() -> str:
    """Render the page: one section per command, in the order of the app's help."""
    sections = [_render_command(name, command) for name, command in COMMANDS.items()]
    short = {long: name for name, long in SHORT.items()}
    options = "\n".join(
        f"| {', '.join(f'`{text}`' for text in filter(None, (name, short.get(name))))} | {help} |"
        for name, (help, _) in OPTIONS.items()
    )
    return "\n".join([HEADER.format(options=options), *sections])


def _render_command(name: str, command: Callable[..., None]) -> str:
    hints = get_type_hints(command, include_extras=True)
    arguments, options = [], []
    usage = ["featx", name, "[OPTIONS]"]
    for parameter in inspect.signature(command).parameters.values():
        if hints[parameter.name] is typer.Context:
            continue
        kind, info = _unpack(hints[parameter.name])
        if isinstance(info, ArgumentInfo):
            word = info.metavar or parameter.name.upper()
            word += "..." if get_origin(kind) is list else ""
            required = parameter.default is inspect.Parameter.empty
            usage.append(word if required else f"[{word}]")
            text = STATED_DEFAULT.sub(r" Default: \1.", _escape(info.help))
            shown = " or ".join(f"`{one}`" for one in word.split("|"))  # | would end the cell
            arguments.append(f"| {shown} | {text} |")
        else:
            options.append(_render_option(parameter, kind, info))
    blocks = [f"## featx {name}", *_iter_text(command), f"```\n{' '.join(usage)}\n```"]
    if arguments:
        blocks.append("\n".join(["| argument | meaning |", "|---|---|", *arguments]))
    if options:
        head = ["| option | value | default | meaning |", "|---|---|---|---|"]
        blocks.append("\n".join([*head, *options]))
    return "\n\n".join(blocks) + "\n"


def _render_option(parameter: inspect.Parameter, kind: Any, info: OptionInfo) -> str:
    # Inside Annotated the first name stands where a default would, and typer moves it.
    declared = (info.default, *(info.param_decls or ()))
    names = [str(name) for name in declared if name is not ...]
    names = names or [f"--{parameter.name.replace('_', '-')}"]
    # Long names come first, so that the column reads alike for all commands.
    shown = ", ".join(f"`{name}`" for name in sorted(names, key=len, reverse=True))
    text = _escape(info.help)
    stated = STATED_DEFAULT.search(text)
    default = parameter.default
    if stated:
        words = stated.group(1)
    elif default is inspect.Parameter.empty:
        words = "required"
    else:
        number = f"{default:g}" if isinstance(default, float) else default
        words = "" if default is None or kind is bool else f"`{number}`"
    value = " or ".join(f"`{word}`" for word in _list_values(kind, info))
    return f"| {shown} | {value} | {words} | {STATED_DEFAULT.sub('', text)} |"


def _list_values(kind: Any, info: OptionInfo) -> list[str]:
    """List what an option takes: its choices, or a word in capitals; nothing for a switch."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if info.metavar:
        return info.metavar.split("|")
    if get_origin(kind) is list:
        return _list_values(get_args(kind)[0], info)
    words = {bool: [], int: ["N"], float: ["NUMBER"], Path: ["PATH"], str: ["TEXT"]}
    return words[kind]


def _unpack(hint: Any) -> tuple[Any, Any]:
    """Split ``Annotated[kind | None, info]`` into the kind and the info."""
    kind, info = get_args(hint)[:2]
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (member for member in get_args(kind) if member is not types.NoneType)
    return kind, info


def _iter_text(command: Callable[..., None]) -> Iterator[str]:
    """Yield the paragraphs of a help text; examples that follow each other share a block."""
    paragraphs = re.split(r"\n\s*\n", inspect.getdoc(command) or "")
    for is_example, group in itertools.groupby(paragraphs, lambda text: text.startswith("featx ")):
        if is_example:
            yield "\n".join(["```sh", *group, "```"])
        else:
            yield from map(_escape, group)


def _escape(text: str | None) -> str:
    """Escape what Markdown would read as markup."""
    return re.sub(r"([|<*_])", r"\\\1", text or "")


if __name__ == "__main__":
    PAGE.write_text(render_reference(), encoding="utf-8")
