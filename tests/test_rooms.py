"""The rooms of the package: arrows point down, no circle, and each is entered by its face."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import robnet_zoo

PACKAGE = Path(robnet_zoo.__file__).parent
# From the top: a room may import those below it, and of each the modules named here ("" is the
# package itself). All else is a room's own.
ROOMS = {
    "timm": "''",
    "cli": "main",
    "search": "registry",
    "eval": "'' attack_names checks evaluation external inputs record record.check saved_images "
    "target reports.attach reports.certificate reports.comparison reports.diff reports.examples "
    "reports.html reports.judges reports.protocol reports.tables reports.terminal "
    "reports.verification studies.certificate studies.certify studies.comparison "
    "studies.diff.explanation studies.diff.script studies.diff.tools studies.judges "
    "studies.plots studies.properties studies.protocol.run studies.protocol.table studies.sweep "
    "studies.transfer_matrix studies.verify",
    "train": "batch_norm export init pack recipes schedule session settings tensorboard validate",
    "attacks": "'' adaptive base batch calling fingerprint losses model naming noise norms "
    "pass_files pass_log pgd registry verdicts methods.apgd methods.fab methods.gradient "
    "methods.square methods.transfer methods.transfer_source",
    "zoo": "'' architectures blueprints card classes convert export info inputs load notices "
    "protocols publish registry space state_dicts surgery upload weights",
    "models": "baselines cells count export features layers networks operations fast.folded "
    "fast.grouped fast.refresh",
    "certify": "'' ball graph jacobian margins size tracing vnnlib",
    "plotting": "accuracy attacked cells curves style",
    "data": "'' arrays augment convert images splits",
    "genotypes": "'' types",
    "threat_models": "''",
    "runtime": "checkpoint console decode distributed environment errors extras files lazy lock "
    "options randomness settings signals statistics tables",
}
# `python -m robnet_zoo...`, and the lazy names of the package, stand for what lies above them
FACES = {"robnet_zoo", "robnet_zoo.__main__"} | {
    f"robnet_zoo.{room}.__main__" for room in ("eval", "search", "train")
}


def room(module):
    return module.split(".")[1] if "." in module else ""


def read_imports():
    """Return each module's imports within the package, as pairs of a module and a name."""
    modules = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        modules[".".join(part for part in parts if part != "__init__")] = path
    imports = {name: set() for name in modules.keys() - FACES}
    for name in imports:
        for node in ast.walk(ast.parse(modules[name].read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("robnet_zoo"):
                for alias in node.names:
                    module = f"{node.module}.{alias.name}"
                    imports[name].add((module if module in modules else node.module, alias.name))
    return imports


IMPORTS = read_imports()
CROSSING = [
    (name, used, what)
    for name, all_used in IMPORTS.items()
    for used, what in all_used
    if room(used) and room(used) != room(name)
]


def test_every_module_lies_in_a_room():
    assert {room(name) for name in IMPORTS} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_from_those_below(name):
    below = list(ROOMS)[list(ROOMS).index(name) :]
    assert not [
        found for found in CROSSING if room(found[0]) == name and room(found[1]) not in below
    ]


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_is_entered_by_its_face(name):
    face = {f"robnet_zoo.{name}.{module}".removesuffix(".''") for module in ROOMS[name].split()}
    inside = [found for found in CROSSING if room(found[1]) == name and found[1] not in face]
    private = [found for found in CROSSING if room(found[1]) == name and found[2].startswith("_")]
    assert not inside + private


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        name: {used for used, _ in all_used} - {name, "robnet_zoo"}
        for name, all_used in IMPORTS.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
