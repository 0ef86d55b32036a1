"""Inner fits of scikit-learn's estimators, which are no runs of a user's experiment.

MLflow's autologging replaces `fit` of scikit-learn's classes by one that logs a run. A
fit of ours has some dozen inner ones: none of them is what the user fits.
"""

from inspect import unwrap
from typing import Any

_PATCHING = "mlflow"


def fit_unpatched(model: Any, *args: Any, **params: Any) -> None:
    """Fit a model as scikit-learn does, whatever MLflow has put around `fit`."""
    unwrap(type(model).fit, stop=_is_not_patched)(model, *args, **params)


def _is_not_patched(function: Any) -> bool:
    """Return whether a function is no wrapper, or one that is not MLflow's."""
    module = getattr(function, "__globals__", {}).get("__name__", "")
    return module.partition(".")[0] != _PATCHING
