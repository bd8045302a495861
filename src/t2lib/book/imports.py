"""Find the t2lib modules that a chapter depends on, without importing any.

grimp reads the imports of the package. What it does not see is read here: the chapter itself, names
that the package loads on first use, and imports computed at run time.
"""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "t2lib"
HARMLESS_MAGICS = ("matplotlib", "config", "load_ext")
# In a process of its own: grimp takes the package from the path, and this one may hold another.
READ_IMPORTS = f"""
import json, sys
sys.path.insert(0, sys.argv[1])
import grimp
graph = grimp.build_graph("{PACKAGE}", exclude_type_checking_imports=True, cache_dir=None)
imported = graph.find_modules_directly_imported_by
print(json.dumps({{module: sorted(imported(module)) for module in graph.modules}}))
"""


def code_of(notebook: Mapping[str, Any]) -> str:
    """Return the Python of all code cells, with IPython's magics as calls."""
    from IPython.core.inputtransformer2 import TransformerManager

    to_python = TransformerManager().transform_cell
    return "\n".join(
        to_python("".join(cell["source"]))
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    )


def module_closure(code: str, package: Path) -> list[Path]:
    """List the files of ``package`` that ``code`` imports, directly or not.

    A name taken from the package itself (``import t2lib as t2; t2.passk_table``) counts as the
    module that the package's ``__init__`` imports it from for type checkers. A computed import
    counts as all modules whose names its file spells out. Where something cannot be read (such an
    import without names, a shell command, a name that is not known, the package handed on as a
    value), every file counts: too much is run again rather than too little.

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
    ValueError
        When a file of the package is not Python.
    """
    paths = sorted(package.rglob("*.py"))
    stamps = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    sources = _read_package(package, stamps)
    queue, names = sorted(sources.used_by(ast.parse(code))), set[str]()
    while queue:
        name = queue.pop()
        if name not in names:
            names.add(name)
            parent = name.rpartition(".")[0]  # importing a module runs its packages too
            queue += [*sources.imports[name], *([parent] if parent else [])]
    files = {sources.paths[name] for name in names}
    return sorted(files | _data_beside(files, package))


@dataclass(frozen=True)
class _Sources:
    """Hold the files, imports and lazily loaded names of a package."""

    paths: Mapping[str, Path]
    imports: dict[str, set[str]]
    homes: Mapping[str, str]

    def used_by(self, tree: ast.AST) -> set[str]:
        """Return the modules that ``tree`` names, or all where it is unclear."""
        reader = _Reader(tree, self.paths)
        modules = {self._module(name) for name in reader.names}
        if reader.unclear or None in modules:
            return set(self.paths)
        return {module for module in modules if module}

    def _module(self, name: str) -> str | None:
        """Return the module that a dotted name is taken from, None if there is none."""
        attribute = name.removeprefix(PACKAGE).strip(".").partition(".")[0]
        if attribute in self.homes and f"{PACKAGE}.{attribute}" not in self.paths:
            return self.homes[attribute]
        while name not in self.paths:
            name = name.rpartition(".")[0]
        is_known = name != PACKAGE or not attribute or attribute.startswith("__")
        return name if is_known else None


@functools.lru_cache(maxsize=4)
def _read_package(package: Path, stamps: tuple[tuple[Path, int, int], ...]) -> _Sources:
    """Read the imports of all modules.

    ``stamps``: path, time and size of each file, so that a change is read again.
    """
    command = [sys.executable, "-c", READ_IMPORTS, str(package.parent)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise ValueError(
            f"{package} must hold modules that grimp can read. Repair or restore the file named:\n"
            f"{process.stderr[-2000:]}"
        )
    paths = {}
    for path, *_ in stamps:
        parts = path.relative_to(package.parent).with_suffix("").parts
        paths[".".join(parts).removesuffix(".__init__")] = path
    graph = json.loads(process.stdout)
    # a module that grimp does not list may import anything
    imports = {name: set(graph.get(name, paths)) for name in paths}
    sources = _Sources(paths, imports, _homes(paths[PACKAGE]))
    for name, path in paths.items():
        text = path.read_text(encoding="utf-8")
        if "import_module" in text or PACKAGE in imports[name]:
            tree = ast.parse(text)
            if name == PACKAGE:  # its lazy names are resolved where they are used
                tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
            imports[name] |= sources.used_by(tree)
    return sources


def _homes(init: Path) -> dict[str, str]:
    """Return the module of each lazy name, from the stub or the imports for type checkers."""
    stub = init.with_suffix(".pyi")
    source = stub if stub.is_file() else init
    nodes = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {
        entry.name: str(node.module)
        for node in imports
        if str(node.module).startswith(PACKAGE + ".")
        for entry in node.names
    }


class _Reader(ast.NodeVisitor):
    """Collect the names of the package that code takes, as dotted names.

    ``unclear`` says that the code may use any module.
    """

    def __init__(self, tree: ast.AST, modules: Mapping[str, Path]) -> None:
        self.names: set[str] = set()
        self.unclear = False
        self._modules = modules
        nodes = list(ast.walk(tree))
        self._texts = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
        self._aliases = {
            entry.asname or PACKAGE
            for node in nodes
            if isinstance(node, ast.Import)
            for entry in node.names
            if entry.name == PACKAGE or (entry.name.startswith(PACKAGE + ".") and not entry.asname)
        }
        self.visit(tree)

    def _add(self, name: str) -> None:
        if name == PACKAGE or name.startswith(PACKAGE + "."):
            self.names.add(name)

    def visit_If(self, node: ast.If) -> None:
        """Skip what only type checkers see."""
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            node = ast.If(ast.Constant(False), [], node.orelse)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Take the modules."""
        for entry in node.names:
            self._add(entry.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Take the names, but for relative ones, which grimp reads in the package."""
        for entry in node.names if not node.level else ():
            self._add(f"{node.module}.{entry.name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Take ``t2.laws.forms`` as ``t2lib.laws.forms``."""
        first, *attributes = ast.unparse(node).split(".")
        if first in self._aliases and all(x.isidentifier() for x in attributes):
            self._add(".".join([PACKAGE, *attributes]))
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """Notice the package handed on as a value."""
        self.unclear |= node.id in self._aliases

    def visit_Call(self, node: ast.Call) -> None:
        """Look at computed imports, shell commands and other notebooks."""
        function = ast.unparse(node.func)
        constant = [x.value for x in node.args[:1] if isinstance(x, ast.Constant)]
        if function.rpartition(".")[2] == "import_module":
            names = constant or self._texts & set(self._modules)
            self.unclear |= not names
            for name in names:
                self._add(str(name))
        if function.startswith("get_ipython()"):
            self.unclear |= not constant or constant[0] not in HARMLESS_MAGICS
        self.generic_visit(node)


def _data_beside(files: set[Path], package: Path) -> set[Path]:
    """Return the files other than code that belong to the packages among ``files``."""
    beside = set()
    for path in package.rglob("*"):
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
            owner = next(up for up in path.parents if (up / "__init__.py").is_file())
            if owner / "__init__.py" in files:
                beside.add(path)
    return beside
