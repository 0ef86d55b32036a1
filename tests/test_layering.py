"""What may import what, and what must not be imported too early."""

import ast
from pathlib import Path

import pytest

import sksemantic

PACKAGE = Path(sksemantic.__file__).parent

# From the bottom up; a file imports from lower lines only, for types as well.
LEVELS = [
    ["exceptions"],
    [
        "_device",
        "_norms",
        "_pooling",
        "_prompt",
        "_reference",
        "_resolution",
        "_store",
    ],
    ["_cache", "_recipe", "_texts"],
    ["_task", "_validation"],
    ["_targets"],
    ["_injection._layers"],
    ["_injection._base"],
    ["_injection.attention", "_injection.cache", "_injection.states"],
    ["_injection._choice"],
    ["_injection"],
    ["_adapters"],
    ["_backbone"],
    ["_loading"],
    ["_data"],
    ["_holdout", "_template"],
    ["_activations"],
    ["_module"],
    ["_inference", "_labels"],
    ["_blueprint", "_comparison", "_net"],
    ["_training"],
    ["_base"],
    ["_classifier", "_regressor", "_token_classifier"],
    [""],
]
LEVEL = {module: level for level, names in enumerate(LEVELS) for module in names}


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


def test_levels_when_compared_then_have_every_file_once():
    assert sorted(sum(LEVELS, [])) == sorted(FILES)


@every_file
def test_file_when_it_imports_then_from_lower_levels_only(module):
    own = {name for name in imports(module) if name.split(".")[0] == "sksemantic"}
    for name in own:
        imported = name.removeprefix("sksemantic").removeprefix(".")
        assert LEVEL[imported] < LEVEL[module], f"{module} imports {imported}"


@every_file
def test_transformers_when_imported_then_by_backbone_and_injection_alone(module):
    if module in ("_backbone", "_loading") or module.startswith("_injection"):
        return
    packages = {name.split(".")[0] for name in imports(module)}
    assert "transformers" not in packages


@every_file
def test_hub_when_imported_then_by_resolution_alone(module):
    packages = {name.split(".")[0] for name in imports(module)}
    assert module == "_resolution" or "huggingface_hub" not in packages


@every_file
def test_pickles_when_searched_for_then_none_is_ever_read(module):
    tree = ast.parse(FILES[module].read_text("utf-8"))
    attributes = {
        ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)
    }
    assert not imports(module) & {"pickle", "dill", "cloudpickle", "joblib", "marshal"}
    assert "torch.load" not in attributes


def test_import_when_fresh_then_is_instant_and_light(run_python):
    seconds, heavy = run_python(
        """
        import sys, time
        start = time.perf_counter()
        import sksemantic
        print(time.perf_counter() - start)
        print({"torch", "transformers", "sklearn", "numpy"} & set(sys.modules))
        """
    ).splitlines()
    assert float(seconds) < 0.3
    assert heavy == "set()"


def test_estimators_when_made_then_torch_and_transformers_stay_unloaded(run_python):
    out = run_python(
        """
        import sys
        from sklearn.base import clone
        from sksemantic import *

        clf = clone(SKTuningClassifier(prompt="a")).set_params(lr=0.1)
        repr(clf), clf._repr_html_(), SKTuningRegressor(), dir(clf)
        print({"torch", "transformers", "skorch"} & set(sys.modules))
        """
    )
    assert out.strip() == "set()"


def test_fit_when_input_is_bad_then_torch_and_transformers_stay_unloaded(run_python):
    out = run_python(
        """
        import sys
        from sksemantic import SKTuningClassifier, SKTuningRegressor

        def refuses(estimator, X, y):
            try:
                estimator.fit(X, y)
            except (TypeError, ValueError):
                return
            raise AssertionError(f"{estimator} fitted {X}, {y}")

        X, y = ["a", "b"], [0, 1]
        refuses(SKTuningClassifier(), "a", y)
        refuses(SKTuningClassifier(), ["a", None], y)
        refuses(SKTuningClassifier(), X, [0])
        refuses(SKTuningClassifier(), X, [0, 0])
        refuses(SKTuningRegressor(), X, ["a", "b"])
        refuses(SKTuningClassifier(lr=-1), X, y)
        refuses(SKTuningClassifier(prompt="{a}"), X, y)
        print({"torch", "transformers", "skorch"} & set(sys.modules))
        """
    )
    assert out.strip() == "set()"
