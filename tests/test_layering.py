"""What may import what, and what must not be imported too early."""

import ast
from functools import cache
from pathlib import Path

import pytest

import sksemantic

PACKAGE = Path(sksemantic.__file__).parent

# From the bottom up: a room imports from those before it, for types as well.
ORDER = (
    "_version _warnings exceptions < _backbone < _cache < _inputs < _model < _tasks "
    "< _training < _saving _representation _prediction < _base _explanation "
    "_labelled_score < _explaining < _classifier _regressor _token_classifier "
    "< _displays _cross_fitting _predict_many datasets < _saved "
    "< _engines _serving < __init__ < _cli < __main__"
)
LEVEL = {
    room: level
    for level, rooms in enumerate(ORDER.split("<"))
    for room in rooms.split()
}


def module_name(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree_of(module):
    return ast.parse(FILES[module].read_text("utf-8"))


@cache
def imports(module):
    """Return all that a file imports, anywhere in it, as dotted names."""
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module)
    return found


def room(name):
    """Return the room of a dotted name inside the package."""
    return name.split(".")[0] or "__init__"


def own_imports(module):
    """Return what a file imports of the package, without the package's name."""
    own = {name for name in imports(module) if name.split(".")[0] == "sksemantic"}
    return {name.removeprefix("sksemantic").removeprefix(".") for name in own}


def importers(package):
    """Return the files that import a package, or of it."""
    return {
        module
        for module in FILES
        if package in {name.split(".")[0] for name in imports(module)}
    }


def test_order_when_compared_then_has_every_room():
    assert {room(module) for module in FILES} <= set(LEVEL)


def test_files_when_they_import_then_from_lower_rooms_or_their_own():
    wrong = [
        f"{module} imports {name}"
        for module in FILES
        for name in own_imports(module)
        if room(module) != room(name) and LEVEL[room(name)] >= LEVEL[room(module)]
    ]
    assert not wrong


def test_files_when_they_import_one_another_then_without_a_circle():
    left = {module: own_imports(module) & set(FILES) for module in FILES}
    while left:
        free = [module for module, needed in left.items() if not needed & set(left)]
        assert free, f"these import one another: {sorted(left)}"
        for module in free:
            del left[module]


def test_transformers_when_imported_then_by_the_backbone_alone():
    assert {*map(room, importers("transformers"))} == {"_backbone"}


def test_hub_when_imported_then_to_find_and_to_save_alone():
    places = {"_backbone.source", "_saving.card"}
    places |= {"_saving.pretrained", "_saving.reading"}
    assert importers("huggingface_hub") <= places


def test_pickles_when_searched_for_then_none_is_ever_read():
    readers = {"pickle", "dill", "cloudpickle", "joblib", "marshal"}
    for module in FILES:
        assert not imports(module) & readers, module
        nodes = ast.walk(tree_of(module))
        attributes = {ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute)}
        assert "torch.load" not in attributes, module


def test_import_when_fresh_then_nothing_heavy_is_imported(run_python):
    heavy = run_python(
        """
        import sys
        import sksemantic
        print({"torch", "transformers", "sklearn", "numpy"} & set(sys.modules))
        """
    )
    assert heavy.strip() == "set()"


def test_server_when_it_is_made_then_torch_is_left_to_its_worker(run_python):
    pytest.importorskip("fastapi")
    saved = next(Path(__file__).with_name("saving").glob("frozen/*/*/config.json"))
    heavy = run_python(
        f"""
        import sys
        import sksemantic._cli.serving
        from sksemantic import create_app
        create_app([{str(saved.parent)!r}])
        print({{"torch", "transformers", "sklearn"}} & set(sys.modules))
        """
    )
    assert heavy.strip() == "set()"
