"""Predictions of an estimator for one batch of rows after another."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from sksemantic._engines.batches import (
    as_array,
    column_names,
    is_batch,
    read_columns,
    with_column,
)
from sksemantic._engines.column_type import type_of_predictions
from sksemantic._engines.parameters import OUTPUTS, check_names, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# So many rows are tokenised at once: an engine's batch may have millions of them.
_MOST_ROWS = 8192


class BatchPredictor:
    """Add an estimator's predictions to batches, in Spark, Ray Data, Dask and others.

    A predictor is called with a batch of rows and returns it with one column more. What
    it returns depends on nothing but the batch, so that an engine may repeat a batch
    that was lost with a worker. It is pickled with what was trained, some hundred
    kilobytes for the default model; each process that calls it loads the backbone once,
    with the first batch.

    Parameters
    ----------
    estimator : estimator, str or Path
        A fitted estimator, or a pipeline or search that ends with one; or where
        `save_pretrained` has put one, a directory or an id on the hub.
    text : str or list of str
        The column with the texts. A list hands the estimator a table of these columns:
        several texts a row, or what a pipeline reads beside them.
    method : str, default="predict"
        Which method predicts: "predict", "predict_proba", "predict_log_proba",
        "decision_function" or "transform".
    output : str, default=None
        What the new column is called. None: "prediction", "probabilities",
        "log_probabilities", "scores" or "embedding", by the method.

    Attributes
    ----------
    estimator : estimator
        As passed, or loaded.
    arrow_type : pyarrow.DataType
    spark_type : pyspark.sql.types.DataType
        The type of the new column, without anything being computed.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If a parameter is invalid, or the labels are of a type that not every engine
        has.

    See Also
    --------
    SKTuningClassifier.save_pretrained : Where a directory comes from.

    Notes
    -----
    A batch is a pandas DataFrame, a table or record batch of pyarrow, or a dictionary
    of columns, as Ray Data and Hugging Face's datasets have it. An empty batch gets an
    empty column of the same type.

    Labels, numbers and the log-odds of two classes are one value a row. What has
    several numbers a row is a list in one column; those of classes are in the order of
    `classes_`. For words there is a list for each text.

    Examples
    --------
    >>> import pandas as pd
    >>> from sksemantic import BatchPredictor, SKTuningClassifier
    >>> X = ["a joy to watch", "wonderful", "dull and slow", "a waste of time"] * 4
    >>> y = ["good", "good", "bad", "bad"] * 4
    >>> clf = SKTuningClassifier(random_state=0).fit(X, y)
    >>> predictor = BatchPredictor(clf, text="review")
    >>> predictor(pd.DataFrame({"id": [7], "review": ["what a wonderful film"]}))
       id                 review prediction
    0   7  what a wonderful film       good
    """

    __module__ = "sksemantic"  # where users and pickles find it

    def __init__(
        self,
        estimator: Any,
        text: "str | list[str]",
        *,
        method: str = "predict",
        output: str | None = None,
    ) -> None:
        check_names(text, method, output)
        if isinstance(estimator, str | Path):
            estimator = load(estimator)
        if not hasattr(estimator, "fit"):
            raise TypeError(
                "The 'estimator' parameter must be a fitted estimator, or the "
                f"directory of a saved one. Got {type(estimator).__name__} instead."
            )
        check_is_fitted(estimator)
        if not hasattr(estimator, method):
            raise ValueError(
                f"The 'method' parameter must be a method of the estimator. Got "
                f"{method!r} instead, which a {type(estimator).__name__} does not have."
            )
        self.estimator = estimator
        self.text = text
        self.method = method
        self.output = OUTPUTS[method] if output is None else output
        self._type = type_of_predictions(estimator, method)

    def __repr__(self) -> str:
        return (
            f"BatchPredictor({type(self.estimator).__name__}, text={self.text!r}, "
            f"method={self.method!r}, output={self.output!r})"
        )

    @property
    def arrow_type(self) -> Any:
        """The type of the new column in pyarrow, for writers of parquet files."""
        return self._type.arrow()

    @property
    def spark_type(self) -> Any:
        """The type of the new column in pyspark, for ``predict_batch_udf``."""
        return self._type.spark()

    def __call__(self, batch: Any) -> Any:
        """Return a batch with the predictions in one column more.

        Parameters
        ----------
        batch : DataFrame, pyarrow.Table, pyarrow.RecordBatch or dict of columns

        Returns
        -------
        object
            Of the same library, the rows in the same order. The batch itself is not
            changed.

        Raises
        ------
        TypeError, ValueError
            If there is no such column, texts are missing or no str, or the batch has a
            column of the name of the new one.
        """
        self._check_output(batch)
        columns = read_columns(batch, self._names)
        values = self._predict(self._X(columns), len(columns[0]))
        return with_column(batch, self.output, values, self._type)

    def map(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield each batch with its predictions: for ``mapInPandas`` of Spark.

        Parameters
        ----------
        batches : iterable
            Of batches, as `__call__` takes them. One of them is held at a time.

        Yields
        ------
        object
            What `__call__` returns of each.

        Raises
        ------
        TypeError
            If `batches` is one batch.
        """
        if is_batch(batches):
            raise TypeError(
                "The 'batches' parameter must be an iterable of batches. Got one "
                f"{type(batches).__name__} instead: call the predictor itself."
            )
        return map(self, batches)

    def make_predict_fn(self) -> "Callable[[NDArray], NDArray]":
        """Return a function of arrays: for ``predict_batch_udf`` of Spark.

        Returns
        -------
        callable
            Of an array of texts (n,), or (n, k) with several columns, in the order of
            `text`. It returns predictions (n,), or (n, k) of lists.

        Raises
        ------
        ValueError
            If the predictions are of a type that this function of Spark does not take:
            bool, or lists of different lengths, as those of words are.
        """
        if self._type.is_ragged or self._type.value == "bool":
            kind = "lists of different lengths" if self._type.is_ragged else "bool"
            raise ValueError(
                f"predict_batch_udf of Spark does not take {kind}. Use df.mapInPandas("
                "predictor.map, predictor.spark_schema(df.schema))."
            )
        return self._predict_array

    def meta(self, frame: Any) -> pd.DataFrame:
        """Return the empty result for a table: for ``map_partitions`` of Dask.

        Parameters
        ----------
        frame : dask.dataframe.DataFrame or pandas.DataFrame

        Returns
        -------
        pandas.DataFrame
            Without rows, its columns of the types that `__call__` gives them.
        """
        empty = getattr(frame, "_meta", frame).iloc[:0]
        return self(empty)

    def spark_schema(self, schema: Any) -> Any:
        """Return a schema with the new column: for ``mapInPandas`` of Spark.

        Parameters
        ----------
        schema : pyspark.sql.types.StructType
            Of the table that is read: its `schema`.

        Returns
        -------
        pyspark.sql.types.StructType
        """
        from pyspark.sql import types

        field = types.StructField(self.output, self.spark_type)
        return types.StructType([*schema.fields, field])

    @property
    def _names(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else list(self.text)

    def _check_output(self, batch: Any) -> None:
        if self.output in column_names(batch):
            raise ValueError(
                f"The batch has a column {self.output!r} already. Give the new one "
                "another name by the 'output' parameter, or drop that column first."
            )

    def _X(self, columns: list[list[Any]]) -> Any:
        """Return what the estimator is asked."""
        if isinstance(self.text, str):
            return columns[0]
        return pd.DataFrame(dict(zip(self._names, columns, strict=True)))

    def _predict(self, X: Any, n_rows: int) -> "NDArray":
        """Return the predictions of all rows, so many of them at a time."""
        if not n_rows:
            return np.empty(0, object)
        predict = getattr(self.estimator, self.method)
        starts = range(0, n_rows, _MOST_ROWS)
        return np.concatenate(
            [np.asarray(predict(X[i : i + _MOST_ROWS])) for i in starts]
        )

    def _predict_array(self, texts: "NDArray") -> "NDArray":
        columns = [*np.atleast_2d(texts.T)]
        values = self._predict(self._X([*map(list, columns)]), len(texts))
        return as_array(values, self._type)
