"""Turn the Python arguments and calls that an error names into flags and commands.

The library speaks Python: ``Pass overwrite=True.``, ``Fit one with featx.fit_head(cache).`` The
command line shows the same sentences with flags and commands: ``Pass --overwrite.``, ``Fit one with
featx fit-head cache.`` Nothing outside this module translates.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import typer
from typer.core import TyperGroup as Group

from featx.core.errors import MAX_REMEDY, FeatxError
from featx.core.text import show_text

WRONG_USAGE = 2
"""Exit code of a wrong command line."""

CALLS = {
    "read_failures": "info --failures",
    "split_cache": "split",
    "merge_caches": "merge",
    "label_cache": "label",
    "verify_cache": "verify",
    "seal_cache": "seal",
    "export_cache": "export",
    "import_embeddings": "import",
    "list_backbones": "backbones",
    "diagnose": "doctor",
    "load_head": "info",
    "evaluate_target": "evaluate",
    "compare_heads": "compare",
    "compare_kinds": "compare",
    "measure_calibration_curve": "plot calibration",
    "measure_learning_curve": "plot curve",
    "map_rows": "plot map",
    "write_report": "report",
}
"""Commands whose names differ from the names of their functions."""

OPTIONS = {"register_backbone": "--register MODULE:FUNCTION"}
"""Options that stand for a call."""

_VALUE = r"""(?:"[^"]*"|'[^']*'|\[(?:"[^"]*"|'[^']*')\]|[\w/:.%*-]*[\w/%*])"""
_PAIR = re.compile(r"""(?<![\w/.-])(\w+)=\{(['"])(.*?)\2: ([\d.e+-]+)\}""")
_CALL = re.compile(r"\bfeatx\.(\w+)(?:\(([^()]*)\))?")
_KEYWORD = re.compile(rf"(?<![\w/.-])(\w+)=({_VALUE})")
_NAME = re.compile(r"(?<![\w/.-])[a-z]+(?:_[a-z]+)+\b(?![/-]|\.\w)")  # not a part of a path


@dataclass(frozen=True)
class Flag:
    """One option of the command line.

    Attributes
    ----------
    text : str
        The option as typed, such as ``--batch-size``.
    is_switch : bool
        True if the option takes no value.
    """

    text: str
    is_switch: bool


def list_flags(group: Group, name: str | None = None) -> dict[str, Flag]:
    """List the options of one command, or of all, by the name of their Python argument.

    Parameters
    ----------
    group : Group
        All commands.
    name : str, optional
        Name of one command. Default: all commands.
    """
    named = group.commands.get(name or "")
    flags: dict[str, Flag] = {}
    for command in group.commands.values() if named is None else [named]:
        for parameter in command.params:
            long = [text for text in parameter.opts if text.startswith("--")]
            if parameter.name and long:
                flags[parameter.name] = Flag(long[0], bool(getattr(parameter, "is_flag", False)))
    return flags


def render_error(error: FeatxError, group: Group, command: str | None = None) -> str:
    """Write an error in one line, with flags and commands in place of arguments and calls.

    Parameters
    ----------
    error : FeatxError
        The error to write.
    group : Group
        All commands.
    command : str, optional
        Name of the command that ran: a subject becomes one of its flags. Default: any command.
    """
    own = list_flags(group, command)
    words = error.subject.split(", ")
    subject = ", ".join(own[word].text if word in own else word for word in words)
    remedy = show_text(error.remedy, MAX_REMEDY)
    return error.render(subject, translate_all(remedy, group))


def get_exit_code(error: FeatxError, group: Group, words: Sequence[str]) -> int:
    """Return the exit code of an error: 2 if it is about the value of an argument.

    An error about an argument has its name for a subject, an error about a file has its path.

    Parameters
    ----------
    error : FeatxError
        The error that ended the command.
    group : Group
        All commands.
    words : sequence of str
        Command line: the name of the command comes first.
    """
    command = group.commands.get(words[0])
    names = {parameter.name for parameter in command.params} if command else set()
    is_argument = error.subject not in words and names.issuperset(error.subject.split(", "))
    return WRONG_USAGE if is_argument else error.exit_code


def translate_for(context: typer.Context, text: str) -> str:
    """Translate a sentence of the library within a running command."""
    group = context.find_root().command
    assert isinstance(group, Group)
    return translate_all(text, group)


def translate_all(text: str, group: Group) -> str:
    """Translate a sentence of the library with the flags of all commands."""
    return translate(text, list_flags(group), set(group.commands))


def translate(text: str, flags: Mapping[str, Flag], commands: set[str]) -> str:
    """Turn calls, keyword arguments and names of arguments into commands and flags.

    Parameters
    ----------
    text : str
        A sentence that names Python arguments or calls.
    flags : mapping of str to Flag
        Options by the name of their Python argument.
    commands : set of str
        Names of all commands.
    """

    def write_keyword(match: re.Match[str]) -> str:
        flag = flags.get(match.group(1))
        if flag is None:
            return match.group()
        value = match.group(2).strip("[\"']")
        return flag.text if flag.is_switch else f"{flag.text} {value}"

    def write_pair(match: re.Match[str]) -> str:
        flag = flags.get(match.group(1))
        pair = f"{match.group(3)}={match.group(4)}"
        return match.group() if flag is None else f"{flag.text} {shlex.quote(pair)}"

    def write_call(match: re.Match[str]) -> str:
        name = CALLS.get(match.group(1), match.group(1).replace("_", "-"))
        if match.group(1) in OPTIONS:
            return OPTIONS[match.group(1)]
        if name.split()[0] not in commands:
            return match.group()
        words = [f"featx {name}"]
        for argument in filter(None, re.split(r",\s*", match.group(2) or "")):
            given = _KEYWORD.fullmatch(argument)
            words.append(write_keyword(given) if given else argument.strip("[\"']"))
        return " ".join(words)

    def write_name(match: re.Match[str]) -> str:
        flag = flags.get(match.group())
        return match.group() if flag is None else flag.text

    text = _KEYWORD.sub(write_keyword, _CALL.sub(write_call, _PAIR.sub(write_pair, text)))
    return _NAME.sub(write_name, text)
