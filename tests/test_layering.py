"""What may import what, and what must not be imported too early."""

import ast
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
every_file = pytest.mark.parametrize("module", FILES)


def imports(module):
    """Return all that a file imports, anywhere in it, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
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


def test_order_when_compared_then_has_every_room():
    assert {room(module) for module in FILES} <= set(LEVEL)


@every_file
def test_file_when_it_imports_then_from_lower_rooms_or_its_own(module):
    for name in own_imports(module):
        here, there = room(module), room(name)
        assert here == there or LEVEL[there] < LEVEL[here], f"{module} imports {name}"


def test_files_when_they_import_one_another_then_without_a_circle():
    left = {module: own_imports(module) & set(FILES) for module in FILES}
    while left:
        free = [module for module, needed in left.items() if not needed & set(left)]
        assert free, f"these import one another: {sorted(left)}"
        for module in free:
            del left[module]


@every_file
def test_transformers_when_imported_then_by_the_backbone_alone(module):
    packages = {name.split(".")[0] for name in imports(module)}
    assert room(module) == "_backbone" or "transformers" not in packages


@every_file
def test_hub_when_imported_then_to_find_and_to_save_alone(module):
    packages = {name.split(".")[0] for name in imports(module)}
    places = {"_backbone.source", "_saving.card"}
    places |= {"_saving.pretrained", "_saving.reading"}
    assert module in places or "huggingface_hub" not in packages


@every_file
def test_pickles_when_searched_for_then_none_is_ever_read(module):
    tree = ast.parse(FILES[module].read_text("utf-8"))
    attributes = {
        ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)
    }
    assert not imports(module) & {"pickle", "dill", "cloudpickle", "joblib", "marshal"}
    assert "torch.load" not in attributes


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
