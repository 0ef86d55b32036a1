"""sksemantic: a language model you ``fit`` like any scikit-learn estimator."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sksemantic._version import __version__ as __version__

__all__ = [
    "BackboneMismatchError",
    "BackboneNotFoundError",
    "BatchPredictor",
    "CrossFittedScores",
    "Explanation",
    "FallbackWarning",
    "InconsistentVersionWarning",
    "PrefixAttentionDisplay",
    "PromptComparisonDisplay",
    "SKSemanticError",
    "SKTuningClassifier",
    "SKTuningRegressor",
    "SKTuningTokenClassifier",
    "TimeLimitWarning",
    "TrainingConfig",
    "TokenAttributionDisplay",
    "TruncationWarning",
    "TuningCurveDisplay",
    "UnlabelledWarning",
    "UnreadableTextWarning",
    "UnsupportedBackboneError",
    "cache_limits",
    "clear_cache",
    "create_app",
    "load_estimator",
    "predict_many",
    "predict_proba_many",
]

# Public names are imported when first touched, so that `import sksemantic` stays
# instant; torch and transformers follow only when a model is fitted.
_HOMES = {
    "BackboneMismatchError": "exceptions",
    "BackboneNotFoundError": "exceptions",
    "BatchPredictor": "_engines.batch_predictor",
    "CrossFittedScores": "_cross_fitting",
    "Explanation": "_explanation",
    "FallbackWarning": "exceptions",
    "InconsistentVersionWarning": "exceptions",
    "PrefixAttentionDisplay": "_displays.prefix_attention",
    "PromptComparisonDisplay": "_displays.prompt_comparison",
    "SKSemanticError": "exceptions",
    "SKTuningClassifier": "_classifier",
    "SKTuningRegressor": "_regressor",
    "SKTuningTokenClassifier": "_token_classifier",
    "TimeLimitWarning": "exceptions",
    "TrainingConfig": "_training.config",
    "TokenAttributionDisplay": "_displays.token_attribution",
    "TruncationWarning": "exceptions",
    "TuningCurveDisplay": "_displays.tuning_curve",
    "UnlabelledWarning": "exceptions",
    "UnreadableTextWarning": "exceptions",
    "UnsupportedBackboneError": "exceptions",
    "cache_limits": "_cache",
    "clear_cache": "_cache",
    "create_app": "_serving.app",
    "load_estimator": "_saved",
    "predict_many": "_predict_many",
    "predict_proba_many": "_predict_many",
}

if TYPE_CHECKING:
    from sksemantic._cache import cache_limits, clear_cache
    from sksemantic._classifier import SKTuningClassifier
    from sksemantic._cross_fitting import CrossFittedScores
    from sksemantic._displays.prefix_attention import PrefixAttentionDisplay
    from sksemantic._displays.prompt_comparison import PromptComparisonDisplay
    from sksemantic._displays.token_attribution import TokenAttributionDisplay
    from sksemantic._displays.tuning_curve import TuningCurveDisplay
    from sksemantic._engines.batch_predictor import BatchPredictor
    from sksemantic._explanation import Explanation
    from sksemantic._predict_many import predict_many, predict_proba_many
    from sksemantic._regressor import SKTuningRegressor
    from sksemantic._saved import load_estimator
    from sksemantic._serving.app import create_app
    from sksemantic._token_classifier import SKTuningTokenClassifier
    from sksemantic._training.config import TrainingConfig
    from sksemantic.exceptions import (
        BackboneMismatchError,
        BackboneNotFoundError,
        FallbackWarning,
        InconsistentVersionWarning,
        SKSemanticError,
        TimeLimitWarning,
        TruncationWarning,
        UnlabelledWarning,
        UnreadableTextWarning,
        UnsupportedBackboneError,
    )


def __getattr__(name: str) -> Any:
    """Import a public name on first access (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted([*globals(), *(name for name in __all__ if name not in globals())])
