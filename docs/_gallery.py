"""The order of the examples in the gallery."""

from pathlib import Path

import pandas

# From the first steps to what is needed less often.
EXAMPLES = [
    "plot_first_steps.py",
    "plot_grid_search_prompts.py",
    "plot_few_labels.py",
    "plot_learning_curve.py",
    "plot_several_labels.py",
    "plot_imbalance.py",
    "plot_pairs.py",
    "plot_named_entities.py",
    "plot_regression.py",
    "plot_mixed_columns.py",
    "plot_wrong_labels.py",
    "plot_explanations.py",
    "plot_what_the_prompt_does.py",
    "plot_save_and_serve.py",
    "quickstart.py",
]


def example_order(path):
    """Return the place of an example; one that is not listed comes last."""
    name = Path(path).name
    return EXAMPLES.index(name) if name in EXAMPLES else len(EXAMPLES)


def reset_pandas(gallery_conf, path):
    """Let each example start with the options of a new session."""
    pandas.reset_option("display.max_colwidth")
