"""Parameters that hold others, reached as `training__contrast`."""

from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator


class NestedParameters(BaseEstimator):
    """An estimator of which some parameters are dictionaries of named options."""

    # By parameter, the names and defaults of its options.
    _nested_parameters: ClassVar[dict[str, dict[str, Any]]]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list what `training` and `model_kwargs` may hold as well, such
            as ``training__contrast``, with the default where it is left open.

        Returns
        -------
        dict
        """
        params = super().get_params(deep=False)
        for group, defaults in self._nested_parameters.items() if deep else ():
            options = defaults | _as_dict(params[group])
            params |= {f"{group}__{name}": value for name, value in options.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Parameters
        ----------
        **params : dict
            By name; those inside `training` and `model_kwargs` as
            ``training__contrast``. Its default takes a value out again.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        nested: dict[str, dict[str, Any]] = {}
        for key in [*params]:
            group, delimiter, name = key.partition("__")
            if not delimiter or group not in self._nested_parameters:
                continue
            value = params.get(group, getattr(self, group))
            if not isinstance(value, dict | None):
                raise ValueError(
                    f"Invalid parameter {key!r} for estimator {self!r}: {group!r} must "
                    f"be a dictionary or None. It is {value!r} instead."
                )
            if name not in self._nested_parameters[group]:
                names = [f"{group}__{name}" for name in self._nested_parameters[group]]
                raise ValueError(
                    f"Invalid parameter {key!r} for estimator {self!r}. "
                    f"Valid parameters are: {names!r}."
                )
            nested.setdefault(group, {})[name] = params.pop(key)
        super().set_params(**params)
        for group, changes in nested.items():
            defaults = self._nested_parameters[group]
            options = _as_dict(getattr(self, group)) | changes
            kept = {
                name: value
                for name, value in options.items()
                if not _is_default(value, defaults.get(name))
            }
            setattr(self, group, kept or None)
        return self


def _as_dict(value: Any) -> dict[str, Any]:
    """Return a dictionary; `fit` refuses what is none."""
    return value if isinstance(value, dict) else {}


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, str) and value == default)
