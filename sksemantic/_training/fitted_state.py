"""What `fit` leaves in an estimator: one object, its attributes, and its pickle."""

import warnings
from operator import attrgetter
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sksemantic._backbone.source import warn_if_lost
from sksemantic._training.fitted import FittedModel
from sksemantic._version import __version__
from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import InconsistentVersionWarning


class FittedState(BaseEstimator):
    """An estimator whose fitted attributes are read off one `FittedModel`."""

    config_ = property(attrgetter("_model.config"))
    history_ = property(attrgetter("_model.result.history"))
    linear_probe_ = property(attrgetter("_model.result.linear_probe"))
    comparison_ = property(attrgetter("_model.result.comparison"))
    timing_ = property(attrgetter("_model.timing"))
    prompt_ = property(attrgetter("config_.model.prompt"))
    prefix_mechanism_ = property(attrgetter("config_.model.backbone.prefix_mechanism"))
    n_layers_ = property(attrgetter("config_.model.backbone.n_layers"))
    backbone_source_ = property(attrgetter("config_.model.backbone.source"))
    n_virtual_tokens_ = property(attrgetter("config_.model.n_virtual_tokens"))
    n_trainable_params_ = property(attrgetter("_model.n_trained"))
    n_features_in_ = property(attrgetter("_model.columns.n_features_in_"))
    feature_names_in_ = property(attrgetter("_model.columns.feature_names_in_"))

    def _keep(self, model: FittedModel) -> None:
        """Take over what a fit has made, all at once: other threads may look."""
        names = getattr(model.task, "label_names", None)  # of the columns of y
        if names is None:
            self.__dict__.pop("label_names_", None)
            self._fitted = model
        else:
            self.__dict__.update(_fitted=model, label_names_=names)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` or `partial_fit` has been called."""
        return "_fitted" in self.__dict__

    def __getstate__(self) -> dict[str, Any]:
        """Keep the trained values and the backbone's name, never the backbone."""
        state = dict(super().__getstate__(), _sksemantic_version=__version__)
        if "_fitted" in state:
            state["_fitted"] = state["_fitted"].to_state()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the trained values; the backbone is loaded when first needed."""
        state = dict(state)
        self._warn_of_version(state.pop("_sksemantic_version", "unknown"))
        if "_fitted" in state:
            state["_fitted"] = FittedModel.from_state(state["_fitted"])
            warn_if_lost(state["_fitted"].config.model.backbone.source)
        super().__setstate__(state)

    def _warn_of_version(self, saved: str) -> None:
        if saved != __version__:
            warnings.warn(
                f"{type(self).__name__} was pickled by version {saved} of sksemantic, "
                f"and is read by version {__version__}. It may fail or predict "
                "otherwise: install the version that saved it, or keep estimators "
                "with save_pretrained, whose files later versions check and read.",
                InconsistentVersionWarning,
                stacklevel=user_stacklevel(),
            )

    @property
    def _model(self) -> FittedModel:
        check_is_fitted(self)
        return self._fitted

    @property
    def _n_features_out(self) -> int:
        return self._model.n_features
