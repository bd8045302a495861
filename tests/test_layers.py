"""Who may import whom: the floors of the library, read from its imports."""

from __future__ import annotations

import subprocess
import sys

import grimp
import pytest

# What each package may import, besides the modules of the ground floor.
GROUND = {
    "_check", "_extras", "_files", "_moved", "_yaml", "cpus", "devices", "names",
    "passk", "units",
}  # fmt: skip
ALLOWED = {
    "costs": set(),
    "data": set(),
    "laws": {"costs", "data"},
    "planning": {"costs", "data", "laws"},
    "selection": {"costs", "data", "laws", "planning"},
    "validation": {"costs", "data", "laws", "planning", "selection"},
    "figures": {"costs", "data", "laws", "planning", "selection", "validation"},
    "measure": {"costs", "data"},  # it meets the laws on disk only
    "book": {"costs", "data", "laws", "planning", "selection", "validation", "figures"},
}
HEAVY = ("torch", "matplotlib", "pyarrow", "scipy", "pandas")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("t2lib", exclude_type_checking_imports=True)


def part(module: str) -> str:
    """Return the package or module below ``t2lib`` that holds a module."""
    return [*module.split("."), ""][1]


def test_every_part_of_the_library_has_a_floor(graph: grimp.ImportGraph) -> None:
    parts = {part(module) for module in graph.modules} - {"", "__main__"}
    assert parts - GROUND - set(ALLOWED) == {"cli"}, "give a new package a floor"


def test_the_ground_floor_stands_on_nothing_above_it(graph: grimp.ImportGraph) -> None:
    upward = [
        (module, imported)
        for module in graph.modules
        if part(module) in GROUND
        for imported in graph.find_modules_directly_imported_by(module)
        if part(imported) not in GROUND | {""}
    ]
    assert upward == []


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_run_one_way(graph: grimp.ImportGraph, package: str) -> None:
    foreign = [
        (module, imported)
        for module in graph.modules
        if part(module) == package
        for imported in graph.find_modules_directly_imported_by(module)
        if part(imported) not in GROUND | ALLOWED[package] | {package, ""}
    ]
    assert foreign == []


def test_no_module_imports_itself_by_way_of_others(graph: grimp.ImportGraph) -> None:
    circles = [
        (module, imported)
        for module in graph.modules - {"t2lib"}
        for imported in graph.find_modules_directly_imported_by(module) - {"t2lib"}
        if graph.chain_exists(imported, module)
    ]
    assert circles == []


@pytest.mark.parametrize("name", HEAVY)
def test_the_front_door_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, t2lib; sys.exit({name!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
