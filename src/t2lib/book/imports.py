"""Which t2lib modules a chapter depends on, read from the sources without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGE = "t2lib"
HARMLESS_MAGICS = ("matplotlib", "config", "load_ext")


def code_of(notebook: dict[str, Any]) -> str:
    """Python of all code cells of a notebook, with IPython's magics as the calls that they are."""
    from IPython.core.inputtransformer2 import TransformerManager

    to_python = TransformerManager().transform_cell
    return "\n".join(
        to_python("".join(cell["source"]))
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    )


def module_closure(code: str, package: Path) -> list[Path]:
    """Files of ``package`` that ``code`` imports, directly or through one another, sorted.

    A name taken from the package itself (``import t2lib as t2; t2.passk_table``) counts as the
    module that the package's ``__init__`` imports it from for type checkers. A computed import
    counts as all modules whose names its file spells out. Where something cannot be read (such an
    import without names, a shell command, the package handed on as a value), every file counts:
    too much is run again rather than too little.

    Parameters
    ----------
    code
        Python code, see ``code_of`` for a notebook's.
    package
        Folder of the package, ``src/t2lib``.

    Raises
    ------
    SyntaxError
        When the code is not Python.
    """
    modules = _modules(package)
    homes = _homes(package)
    todo, done = sorted(_used(ast.parse(code), "", False, modules, homes)), set[str]()
    while todo:
        name = todo.pop()
        if name in done or name not in modules:
            continue
        done.add(name)
        path = modules[name]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if name == PACKAGE:  # its lazy names are resolved at the place of use
            tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
        todo += _used(tree, name, path.name == "__init__.py", modules, homes)
        todo += _parents(name)
    files = {modules[name] for name in done}
    return sorted(files | _data_beside(files, package))


def _modules(package: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        dotted = ".".join((PACKAGE, *parts)).removesuffix(".__init__")
        found[dotted] = path
    return found


def _data_beside(files: set[Path], package: Path) -> set[Path]:
    """Files other than code that belong to the packages among ``files``."""
    found = set()
    for path in package.rglob("*"):
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
            owner = next(up for up in path.parents if (up / "__init__.py").is_file())
            if owner / "__init__.py" in files:
                found.add(path)
    return found


def _homes(package: Path) -> dict[str, str]:
    """Module of each lazily loaded name, from the imports that type checkers see."""
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.startswith(PACKAGE):
                found |= {entry.name: module for entry in names}
    return found


def _used(
    tree: ast.Module, module: str, is_package: bool, modules: dict[str, Path], homes: dict[str, str]
) -> set[str]:
    """Dotted names of the modules that ``tree``, the code of ``module``, imports."""
    everything = set(modules)
    found: set[str] = set()
    aliases: set[str] = set()  # local names of the package itself
    taken: set[int] = set()  # the uses of an alias that were understood
    nodes = list(_at_run_time(tree))
    for node in nodes:
        match node:
            case ast.Import(names=names):
                for entry in names:
                    if entry.name == PACKAGE or entry.name.startswith(PACKAGE + "."):
                        found.add(entry.name)
                        if entry.asname is None or entry.name == PACKAGE:
                            aliases.add(entry.asname or PACKAGE)
            case ast.ImportFrom(names=names):
                base = _base(node, module, is_package)
                if base == PACKAGE or base.startswith(PACKAGE + "."):
                    found.add(base)
                    for entry in names:
                        if base == PACKAGE and entry.name == "*":
                            return everything
                        found.add(f"{base}.{entry.name}")
                        if base == PACKAGE:
                            found.add(homes.get(entry.name, PACKAGE))
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module")):
                match node.args:
                    case [ast.Constant(value=str(name)), *_]:
                        found.add(name)
                    case _:
                        found |= _spelled(tree) & everything or everything
            case ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython"))), args=args
            ):
                match args:
                    case [ast.Constant(value=str(name)), *_] if name in HARMLESS_MAGICS:
                        pass
                    case _:  # a shell command or another notebook
                        return everything
    for node in nodes:  # outermost attributes come first: t2.laws.forms before t2.laws
        if isinstance(node, ast.Attribute) and (chain := _chain(node)) and chain[0] in aliases:
            taken.add(id(_root(node)))
            known = chain[1] in homes or f"{PACKAGE}.{chain[1]}" in modules
            if not known and not chain[1].startswith("__"):
                return everything
            found.add(homes.get(chain[1], PACKAGE))
            found |= {".".join((PACKAGE, *chain[1:stop])) for stop in range(2, len(chain) + 1)}
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in aliases and id(node) not in taken:
            return everything
    return {_module_of(name, modules) for name in found if name.startswith(PACKAGE)}


def _at_run_time(tree: ast.AST) -> Iterable[ast.AST]:
    """All nodes outside ``if TYPE_CHECKING`` blocks."""
    for child in ast.iter_child_nodes(tree):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for other in child.orelse:
                    yield other
                    yield from _at_run_time(other)
            case _:
                yield child
                yield from _at_run_time(child)


def _spelled(tree: ast.AST) -> set[str]:
    """Every text constant."""
    return {x.value for x in ast.walk(tree) if isinstance(x, ast.Constant) and type(x.value) is str}


def _base(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    up = node.level - 1 if is_package else node.level
    parts = module.split(".")
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def _chain(node: ast.expr) -> list[str]:
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Attribute(value=value, attr=attr):
            below = _chain(value)
            return [*below, attr] if below else []
    return []


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def _module_of(name: str, modules: dict[str, Path]) -> str:
    """The longest prefix of a dotted name that is a module."""
    while name not in modules and "." in name:
        name = name.rpartition(".")[0]
    return name


def _parents(name: str) -> list[str]:
    """Packages that importing ``name`` also runs."""
    parts = name.split(".")
    return [".".join(parts[:stop]) for stop in range(1, len(parts))]
