"""Every command with its arguments and options, as the program itself declares them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from angio_pipeline.cli.main import app
from reference.values import shown, table

__all__ = ["commands", "section"]

_WORDS: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "", Path: "path"}


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command by its full name, groups before what they hold."""
    yield from _within("angio", typer.main.get_command(app))


def _within(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for inner, one in getattr(command, "commands", {}).items():
        yield from _within(f"{name} {inner}", one)


def section() -> str:
    """Return the section of every command."""
    return "\n\n".join(_described(name, command) for name, command in commands())


def _described(name: str, command: Any) -> str:
    parts = [f"## {name}", *_story(command.help or "")]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    if not hasattr(command, "commands"):
        usage = " ".join([name, *map(_placed, arguments), "[OPTIONS]"])
        parts.insert(1, f"```text\n{usage}\n```")
    rows = [_row(p) for p in command.params]
    if rows:
        parts.append(table(("argument or option", "value", "default", "what"), rows))
    return "\n\n".join(parts)


def _story(told: str) -> Iterator[str]:
    # Paragraphs of the help; an example becomes a block of code.
    for paragraph in told.split("\n\n"):
        line = " ".join(paragraph.split())
        example = re.fullmatch(r"Examples?: (angio .*)", line)
        yield f"```\n{example[1]}\n```" if example else re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)", r"`\1`", line)


def _placed(parameter: Any) -> str:
    name = _metavar(parameter)
    return name if parameter.required else f"[{name}]"


def _metavar(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    return str(parameter.name).upper() + ("..." if parameter.nargs == -1 else "")


def _row(parameter: Any) -> tuple[str, str, str, str]:
    if parameter.param_type_name == "argument":
        name = f"`{_metavar(parameter)}`"
    else:
        name = ", ".join(f"`{one}`" for one in (*parameter.opts, *parameter.secondary_opts))
    default = "" if callable(parameter.default) or parameter.default in (None, False) else shown(parameter.default)
    if parameter.required:
        default = "must be given"
    value = "" if getattr(parameter, "is_flag", False) else _value(parameter)
    if value and name.startswith("`-") and parameter.metavar:
        value = f"`{parameter.metavar}`, {value}"
    return name, value, default, _help(parameter)


def _help(parameter: Any) -> str:
    told = str(parameter.help or "")
    variable = f" Environment: `{parameter.envvar}`." if parameter.envvar else ""
    again = " May be repeated." if getattr(parameter, "multiple", False) and "repeated" not in told else ""
    return told.replace("<", "&lt;") + again + variable


def _value(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(member.value for member in kind)
    told = parameter.type_descriptor.parameter_info
    low, high = getattr(told, "min", None), getattr(told, "max", None)
    ends = " ".join([*([f"from {low:g}"] if low is not None else []), *([f"to {high:g}"] if high is not None else [])])
    return f"{_WORDS.get(kind, 'text')} {ends}".strip()
