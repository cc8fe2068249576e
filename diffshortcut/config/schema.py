"""Checks of config nodes against the signatures of their targets, read without importing them."""

import ast
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from diffshortcut.artifacts import sources
from diffshortcut.errors import UserError, suggest

PLUGINS = "DIFFSHORTCUT_PLUGINS"  # in the environment: packages, between commas
# keys of a method's node that name other stages, or what it reads of them
STAGE_REFERENCES = {"prior", "personalized", "reads"}
SCALARS: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "Path": (str,),
}


@dataclass(frozen=True)
class Parameter:
    """An argument of a target: its annotation and whether it has no default."""

    annotation: ast.expr | None
    required: bool


@cache
def plugins() -> tuple[str, ...]:
    """Packages that targets may come from besides this one: by environment or entry point."""
    named = [name.strip() for name in os.environ.get(PLUGINS, "").split(",")]
    for name in filter(None, named):
        if not all(part.isidentifier() for part in name.split(".")):
            raise UserError(f"{PLUGINS}: '{name}' cannot be the name of a package")
    installed = (point.module for point in entry_points(group="diffshortcut.plugins"))
    return tuple(dict.fromkeys(name for name in [*named, *installed] if name))


def own(node: Mapping[str, Any]) -> dict[str, Any]:
    """A method's node without the keys that refer to other stages: what its target is given."""
    return {key: value for key, value in node.items() if key not in STAGE_REFERENCES}


def check_node(node: Any, where: str) -> None:
    """UserError if a node with a `_target_`, or one inside it, does not fit its signature."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            check_node(child, f"{where}.{index}")
    if not isinstance(node, Mapping):
        return
    if "_target_" in node:
        _check_arguments(node, where)
    for key, child in node.items():
        check_node(child, f"{where}.{key}" if where else key)


def _check_arguments(node: Mapping[str, Any], where: str) -> None:
    parameters = signature(node["_target_"])
    given = {key: value for key, value in node.items() if key != "_target_"}
    for key, value in given.items():
        if key in parameters:
            annotation = parameters[key].annotation
            if annotation is not None and not _fits(value, annotation):
                kind = ast.unparse(annotation)
                raise UserError(f"{where}.{key} must be {kind}, not {value!r}")
        elif key not in STAGE_REFERENCES:
            raise UserError(f"{where} has no key '{key}'.{suggest(key, parameters)}")
    required = {key for key, value in parameters.items() if value.required}
    if missing := sorted(required - given.keys()):
        raise UserError(f"{where}.{missing[0]} is missing: {node['_target_']} needs it")


@cache
def signature(target: str) -> dict[str, Parameter]:
    """The arguments of a function, method or class by its dotted name; UserError if not allowed."""
    if not isinstance(target, str) or not _is_allowed(target):
        raise UserError(
            f"_target_ {target!r} is not in {', '.join(('diffshortcut', *plugins()))}"
            " (name its package in DIFFSHORTCUT_PLUGINS to trust it)"
        )
    found = sources.module_file(target)
    names = target.removeprefix(found[0] if found else "").strip(".").split(".")
    is_private = any(part.startswith("_") for part in names)
    definition = _find(found[1], names) if found and names != [""] and not is_private else None
    if definition is None or found is None:
        raise UserError(f"_target_ {target}: there is no such function or class")
    file, node = definition
    return _fields(file, node) if isinstance(node, ast.ClassDef) else _arguments(node)


def _is_allowed(name: str) -> bool:
    return name.partition(".")[0] in ("diffshortcut", *plugins())


Definition = ast.ClassDef | ast.FunctionDef


def _find(file: Path, names: list[str]) -> tuple[Path, Definition] | None:
    """The definition of a name in a module, followed through imports from allowed packages."""
    body: list[ast.stmt] = ast.parse(file.read_text(), str(file)).body
    for statement in body:
        if isinstance(statement, Definition) and statement.name == names[0]:
            if len(names) == 1:
                return file, statement
            inner = (s for s in statement.body if isinstance(s, ast.FunctionDef))
            return next(((file, s) for s in inner if s.name == names[1]), None)
        if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            for alias in statement.names:
                if (alias.asname or alias.name) == names[0] and _is_allowed(statement.module):
                    source = sources.module_file(statement.module)
                    return _find(source[1], [alias.name, *names[1:]]) if source else None
    return None


def _fields(file: Path, node: ast.ClassDef) -> dict[str, Parameter]:
    """The arguments of a class: its __init__, or the fields of a dataclass and of its bases."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _arguments(statement)
    found: dict[str, Parameter] = {}
    for base in node.bases:
        definition = _find(file, ast.unparse(base).split("[")[0].split("."))
        if definition and isinstance(definition[1], ast.ClassDef):
            found |= _fields(definition[0], definition[1])
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            kind, value = ast.unparse(statement.annotation), statement.value
            if "ClassVar" not in kind and "init=False" not in (ast.unparse(value) if value else ""):
                found[statement.target.id] = Parameter(statement.annotation, value is None)
    return found


def _arguments(node: ast.FunctionDef) -> dict[str, Parameter]:
    arguments = node.args
    named = [a for a in (*arguments.posonlyargs, *arguments.args) if a.arg not in ("self", "cls")]
    first_default = len(named) - len(arguments.defaults)
    found = {a.arg: Parameter(a.annotation, i < first_default) for i, a in enumerate(named)}
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found[argument.arg] = Parameter(argument.annotation, default is None)
    return found


def fits(value: Any, annotation: str) -> bool:
    """Whether a plain value can be meant by an annotation such as `int | None`."""
    return _fits(value, ast.parse(annotation, mode="eval").body)


def _fits(value: Any, annotation: ast.expr) -> bool:
    """Whether a plain value can be meant by an annotation; other types stand for nested nodes."""
    if isinstance(annotation, ast.BinOp):
        return _fits(value, annotation.left) or _fits(value, annotation.right)
    if isinstance(annotation, ast.Constant):
        if isinstance(annotation.value, str):
            return fits(value, annotation.value)
        return value is annotation.value
    if isinstance(annotation, ast.Subscript):
        return _fits_generic(value, ast.unparse(annotation.value), annotation.slice)
    return _fits_name(value, ast.unparse(annotation).rpartition(".")[2])


def _fits_name(value: Any, name: str) -> bool:
    if name in SCALARS:
        return isinstance(value, SCALARS[name]) and (name == "bool") == isinstance(value, bool)
    if name in ("list", "tuple", "Sequence", "Iterable"):
        return isinstance(value, list)
    if name in ("dict", "Mapping"):
        return isinstance(value, Mapping)
    return name == "Any" or (isinstance(value, Mapping) and "_target_" in value)


def _fits_generic(value: Any, name: str, inner: ast.expr) -> bool:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        return any(value == ast.literal_eval(part) for part in parts)
    if not _fits_name(value, name):
        return False
    if name in ("dict", "Mapping"):
        return all(_fits(child, parts[-1]) for child in value.values())
    if name in ("list", "tuple", "Sequence", "Iterable"):
        kinds = [p for p in parts if not (isinstance(p, ast.Constant) and p.value is ...)]
        fixed = name == "tuple" and len(kinds) == len(parts)
        kinds = kinds if fixed else kinds * len(value)
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    return True
