"""Which options a function reads, told by the sources.

Every function, class and constant of xmodal is followed that is named on the way; of a class those methods
whose names are used. What stands in a variable is known by its annotation, by what is assigned to it, or by
the fields of a class. That says no less than what is read; a condition may keep an option from being read.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from xmodal.config.config import GROUPS
from xmodal.config.fields import options_of

ROOT = Path(__file__).parents[2]
# Full name of a group -> its options.
OPTIONS = {
    f"{group.__module__}.{group.__qualname__}": {name for name, _ in options_of(group)}
    for group in GROUPS.values()
}
EVERY = set().union(*OPTIONS.values())
# What checks the settings of a run, names its files or foretells its time looks at those of all experiments.
WHOLE = ("xmodal.config.", "xmodal.runs.provenance.", "xmodal.runs.dry_run.")
# Names of variables that hold settings: their type has to be known.
SETTINGS = {*GROUPS, "config", "settings", "training"}


@dataclass
class Definition:
    """What a definition holds: full names and attributes used, options read, types not known."""

    names: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    options: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


def reached(*starts: str) -> list[Definition]:
    """Returns all definitions that are named from these full names on, and methods that are called there."""
    known = definitions()
    seen: set[str] = set()
    new = set(starts)
    while new:
        seen |= new
        named = set().union(*(known[name].names for name in seen))
        called = set().union(*(known[name].attributes for name in seen))
        for name in known:
            owner, _, method = name.rpartition(".")
            if owner in seen and (method in called or method.startswith("__")):
                named.add(name)
        new = {name for name in named & set(known) - seen if not name.startswith(WHOLE)}
    return [known[name] for name in seen]


@cache
def definitions() -> dict[str, Definition]:
    """Returns what is defined at the top of all modules, by its full name."""
    modules = {_module(path): ast.parse(path.read_text()) for path in (ROOT / "xmodal").rglob("*.py")}
    scopes = {name: _names(name, tree) for name, tree in modules.items()}
    classes = {
        f"{name}.{node.name}": _field_types(node, scopes[name])
        for name, tree in modules.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    returns = {
        f"{name}.{node.name}": _type_of(node.returns, scopes[name])
        for name, tree in modules.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    # A package hands on what its modules define.
    aliases = {f"{name}.{own}": full for name, scope in scopes.items() for own, full in scope.items()}
    found = {}
    for module, tree in modules.items():
        for node in tree.body:
            for name, part, owner in _parts(node, module):
                reader = _Reader(module, scopes[module], classes, returns, aliases)
                reader.variables["self"] = owner
                for each in part:
                    reader.visit(each)
                found[name] = reader.found
    return found


def _parts(node: ast.stmt, module: str) -> Iterator[tuple[str, list[ast.AST], str | None]]:
    """Yields full names, what they stand for, and the class around it; of a class each method by itself."""
    for name in _defined(node):
        full = f"{module}.{name}"
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            rest = [each for each in ast.iter_child_nodes(node) if each not in methods]
            yield full, rest, full
            yield from ((f"{full}.{method.name}", [method], full) for method in methods)
        else:
            yield full, [node], None


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return [node.name] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []


def _names(module: str, tree: ast.Module) -> dict[str, str]:
    """Returns the full names of what is imported or defined, by the name that it has in a module."""
    names = {name: f"{module}.{name}" for node in tree.body for name in _defined(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {(alias.asname or alias.name).partition(".")[0]: alias.name for alias in node.names}
    return names


def _type_of(annotation: ast.expr | None, names: dict[str, str]) -> str | None:
    """Returns the full name of an annotated class, that of the group where there are several."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):
        sides = [_type_of(side, names) for side in (annotation.left, annotation.right)]
        return next((side for side in sides if side in OPTIONS), sides[0])
    return names.get(annotation.id, annotation.id) if isinstance(annotation, ast.Name) else None


def _field_types(node: ast.ClassDef, names: dict[str, str]) -> dict[str, str | None]:
    """Returns the types of the fields of a class: annotated, of a property, or an argument that is kept."""
    types = {}
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            types[each.target.id] = _type_of(each.annotation, names)
        elif isinstance(each, ast.FunctionDef):
            types[each.name] = _type_of(each.returns, names)
            arguments = {a.arg: _type_of(a.annotation, names) for a in _arguments(each)}
            for line in ast.walk(each):
                if isinstance(line, ast.Assign) and isinstance(line.value, ast.Name):
                    kept = [target.attr for target in line.targets if isinstance(target, ast.Attribute)]
                    types |= dict.fromkeys(kept, arguments.get(line.value.id))
    return types


def _arguments(node: ast.FunctionDef | ast.Lambda) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


class _Reader(ast.NodeVisitor):
    """Reads one definition, from its first line to its last."""

    def __init__(self, module, names, classes, returns, aliases):
        self.found = Definition()
        self._module, self._names = module, names
        self._classes, self._returns, self._aliases = classes, returns, aliases
        self.variables: dict[str, str | None] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = {a.arg: _type_of(a.annotation, self._names) for a in _arguments(node)}
        self.variables |= {name: of for name, of in arguments.items() if name != "self"}
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._assign(target, node.value)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for each in zip(target.elts, value.elts, strict=False):
                self._assign(*each)
        elif isinstance(target, ast.Name):
            self.variables[target.id] = self._type(value)

    def visit_Name(self, node: ast.Name) -> None:
        self._use(self._names.get(node.id, ""))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        self.found.attributes.add(node.attr)
        self._use(f"{self._full(node.value)}.{node.attr}")
        if node.attr in EVERY:
            owner = self._type(node.value)
            if owner in OPTIONS and node.attr in OPTIONS[owner]:
                self.found.options.add(node.attr)
            last = ast.unparse(node.value).rpartition(".")[2].lstrip("_")
            if owner is None and (last in SETTINGS or last.endswith("_config")):
                self.found.unknown.add(f"{self._module}:{node.lineno}: {ast.unparse(node)}")

    def _use(self, name: str) -> None:
        name = self._aliases.get(name, name)
        if name.startswith("xmodal."):
            self.found.names.add(name)

    def _full(self, node: ast.expr) -> str:
        return self._names.get(node.id, "") if isinstance(node, ast.Name) else ""

    def _type(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Name):
            return self.variables.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._type(node.value)
            owner = self._aliases.get(owner, owner)
            return self._classes.get(owner, {}).get(node.attr)
        if isinstance(node, ast.Call):
            name = self._full(node.func)
            if name == "dataclasses.replace":
                return self._type(node.args[0])
            name = self._aliases.get(name, name)
            return name if name in self._classes else self._returns.get(name)
        if isinstance(node, ast.BoolOp):
            return next(filter(None, map(self._type, node.values)), None)
        return None
