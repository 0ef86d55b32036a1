import re
from types import SimpleNamespace

import pytest

from sksemantic._inputs.model_options import ModelOptions, check_model_kwargs


@pytest.mark.parametrize("model_kwargs", [None, {}])
def test_options_when_nothing_is_given_then_are_the_defaults(model_kwargs):
    options = check_model_kwargs(model_kwargs, "Classifier")
    assert options == ModelOptions(None, "auto", None, None, "auto", "auto")


@pytest.mark.parametrize(
    "given",
    [
        {"revision": "main"},
        {"dtype": "bfloat16", "n_layers": 3},
        {"quantization_config": {"bits": 4}, "device_map": "auto"},
        {"quantization_config": SimpleNamespace(to_dict=dict)},
        {"device_map": {"": 0}, "n_layers": "all", "prefix_mechanism": "kv_cache"},
    ],
)
def test_options_when_given_then_others_stay_as_they_are(given):
    options = check_model_kwargs(given, "Classifier")
    assert vars(options) == vars(ModelOptions()) | given


@pytest.mark.parametrize("model_kwargs", ["main", [("dtype", "auto")], 3])
def test_options_when_no_dictionary_then_refused(model_kwargs):
    message = "The 'model_kwargs' parameter of Classifier must be .*dict.* or None"
    with pytest.raises(ValueError, match=message):
        check_model_kwargs(model_kwargs, "Classifier")


@pytest.mark.parametrize("key", ["torch_dtype", 3])
def test_options_when_a_key_is_unknown_then_error_names_it_and_those_there_are(key):
    message = (
        f"The 'model_kwargs' parameter of Classifier has the unknown key {key!r}. "
        "Accepted keys are 'revision', 'dtype', 'quantization_config', 'device_map', "
        "'n_layers', 'prefix_mechanism'."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_model_kwargs({"dtype": "float32", key: "float32"}, "Classifier")


BAD_VALUES = {
    "revision": [1, ["main"]],
    "dtype": ["int8", "half", None],
    "quantization_config": ["4bit", 4],
    "device_map": [1, ["cpu"]],
    "n_layers": [0, -1, 1.5, "some", None, (1, 2)],
    "prefix_mechanism": ["B", None],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_VALUES.items() for value in values],
)
def test_options_when_a_value_is_bad_then_error_names_it(name, value):
    message = f"The 'model_kwargs__{name}' parameter of Classifier must be "
    with pytest.raises(ValueError, match=f"{message}.*Got {re.escape(repr(value))} "):
        check_model_kwargs({name: value}, "Classifier")
