"""Public docstrings describe every parameter by a full noun phrase."""

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

import typer.main

import featx
from featx.cli.app import app

# A description that begins so hangs on a word before it: "Of the sample." for "Seed of the sample."
FORBIDDEN = {"of", "as", "what", "where", "that", "whose", "which", "how"}

SECTION = re.compile(r"^(\S[^\n]*)\n-{3,}$", re.M)


def iter_public() -> Iterator[tuple[str, Any]]:
    """Yield every public function and class, and the public methods of the classes, by name."""
    for name in sorted(featx.__all__):
        value = getattr(featx, name)
        if not callable(value):
            continue
        yield name, value
        if not inspect.isclass(value):
            continue
        for method, member in vars(value).items():
            function = getattr(member, "__func__", member)
            if not method.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{method}", function


def read_sections(value: Any) -> dict[str, str]:
    """Split a numpydoc docstring into its sections by their titles."""
    parts = SECTION.split(inspect.getdoc(value) or "")
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def read_fields(section: str) -> dict[str, str]:
    """Return the descriptions of a section of parameters by the line that names them."""
    fields: dict[str, str] = {}
    name = None
    for line in section.splitlines():
        if line and not line.startswith(" "):
            name = line
            fields[name] = ""
        elif name is not None and line:
            fields[name] = f"{fields[name]} {line.strip()}".strip()
    return fields


def list_described(value: Any) -> dict[str, str]:
    """Return the description of every parameter and attribute, by its name.

    A class need not say again what its base says of a field.
    """
    described = {}
    bases = inspect.getmro(value)[::-1] if inspect.isclass(value) else [value]
    for one in bases:
        sections = read_sections(one) if "__doc__" in vars(one) or one is value else {}
        for title in ("Parameters", "Attributes"):
            for names, text in read_fields(sections.get(title, "")).items():
                for name in names.partition(" : ")[0].split(","):
                    described[name.strip().lstrip("*")] = text
    return described


def list_expected(value: Any) -> set[str]:
    """List the parameters that a reader may pass; of a dataclass, its public fields."""
    if dataclasses.is_dataclass(value):
        return {field.name for field in dataclasses.fields(value) if not field.name.startswith("_")}
    if inspect.isclass(value) and issubclass(value, Exception):
        return set()
    if typing.is_typeddict(value) or getattr(value, "_is_protocol", False):
        return set()  # nobody calls them
    if inspect.isclass(value) and value.__init__ is not vars(value).get("__init__"):
        return set()  # the constructor is inherited
    return set(inspect.signature(value).parameters) - {"self", "cls"}


def test_read_fields_joins_lines_and_keeps_names() -> None:
    text = "seed : int\n    Seed of the\n    sample.\n\nX, y : ndarray\n    Arrays.\n"
    assert read_fields(text) == {"seed : int": "Seed of the sample.", "X, y : ndarray": "Arrays."}


# One test for all names: a test for each of 350 costs more than what it does.
def test_every_parameter_is_described() -> None:
    missing = [
        f"{public}: {name}"
        for public, value in iter_public()
        for name in list_expected(value)
        - {name for name, text in list_described(value).items() if text}
    ]
    assert missing == []


def begins_in_the_middle(text: str) -> bool:
    return re.split(r"\W", text, maxsplit=1)[0].lower() in FORBIDDEN


def test_no_description_begins_in_the_middle_of_a_sentence() -> None:
    found = [
        f"{public}: {name}: {text}"
        for public, value in iter_public()
        for title, section in read_sections(value).items()
        if title in ("Parameters", "Attributes", "Returns", "Yields")
        for name, text in read_fields(section).items()
        if begins_in_the_middle(text)
    ]
    assert found == []


def test_no_help_text_begins_in_the_middle_of_a_sentence() -> None:
    texts = [
        str(getattr(parameter, "help", "") or "")
        for command in typer.main.get_group(app).commands.values()
        for parameter in command.params
    ]
    assert any(texts)
    assert [text for text in texts if begins_in_the_middle(text)] == []
