"""What people pass by mistake, or for good reasons: it works, or is refused at once.

Inputs that are refused are given to estimators whose backbone does not exist: the error
comes before anyone looks for it.
"""

import array
import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import pickle
import uuid

import numpy as np
import pandas as pd
import pytest
from conftest import FAST, with_training

from sksemantic import (
    BackboneNotFoundError,
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
)

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

pytestmark = [
    pytest.mark.filterwarnings("ignore::sksemantic.UnreadableTextWarning"),
    pytest.mark.filterwarnings("ignore::sksemantic.TruncationWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning"),
]

N = 8
TEXTS = ["good film", "bad film", "great book", "dull book"] * 2
LABELS = ["yes", "no"] * 4
NUMBERS = [1.0, 2.0, 3.0, 4.0] * 2
WORDS = [text.split() for text in TEXTS]
TAGS = [["A", "B"]] * N
nan = float("nan")


class Mood(enum.Enum):
    GOOD, BAD = "g", "b"


class Grade(enum.IntEnum):
    LOW, HIGH = 1, 2


class Kind(enum.StrEnum):
    ONE, TWO = "one", "two"


class Text(str):
    __slots__ = ()


class Sequence(collections.abc.Sequence):
    """A sequence that is neither list nor tuple."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, i):
        return self.values[i]

    def __len__(self):
        return len(self.values)


def objects(*values):
    return np.fromiter(values, object, len(values))


def alternating(a, b):
    return [a, b] * (N // 2)


def replaced(values, value, i=2):
    return [*values[:i], value, *values[i + 1 :]]


Point = collections.namedtuple("Point", "x y")

X_WORKS = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "array of str": np.array(TEXTS),
    "array of objects": objects(*TEXTS),
    "column of an array": np.array(TEXTS).reshape(-1, 1),
    "column of objects": objects(*TEXTS).reshape(-1, 1),
    "strided array": np.array([*TEXTS, *TEXTS])[::2],
    "read-only array": np.frombuffer(np.array(TEXTS, "U10").tobytes(), "U10"),
    "pandas Series": pd.Series(TEXTS),
    "Series of another index": pd.Series(TEXTS, index=range(90, 98)),
    "Series of one index": pd.Series(TEXTS, index=[3] * N),
    "Series of dtype string": pd.Series(TEXTS, dtype="string"),
    "Series of categories": pd.Series(TEXTS, dtype="category"),
    "Series of arrow": pd.Series(TEXTS, dtype=pd.ArrowDtype(pa.string())),
    "pandas Index": pd.Index(TEXTS),
    "pandas array": pd.array(TEXTS),
    "DataFrame": pd.DataFrame({"text": TEXTS}),
    "DataFrame without names": pd.DataFrame([[text] for text in TEXTS]),
    "polars Series": pl.Series(TEXTS),
    "polars categories": pl.Series(TEXTS, dtype=pl.Categorical),
    "polars DataFrame": pl.DataFrame({"text": TEXTS}),
    "pyarrow array": pa.array(TEXTS),
    "pyarrow chunks": pa.chunked_array([TEXTS[:3], TEXTS[3:]]),
    "pyarrow table": pa.table({"text": TEXTS}),
    "pyarrow dictionary": pa.array(TEXTS).dictionary_encode(),
    "pyarrow large strings": pa.array(TEXTS, pa.large_string()),
    "deque": collections.deque(TEXTS),
    "a sequence": Sequence(TEXTS),
    "numpy's str": [np.str_(text) for text in TEXTS],
    "a subclass of str": [Text(text) for text in TEXTS],
    "members of a str Enum": alternating(Kind.ONE, Kind.TWO),
    "lists of one": [[text] for text in TEXTS],
    "tuples of one": [(text,) for text in TEXTS],
    "pairs": list(zip(TEXTS, TEXTS[::-1], strict=True)),
    "lists of two": [[a, b] for a, b in zip(TEXTS, TEXTS[::-1], strict=True)],
    "array of pairs": np.array([TEXTS, TEXTS[::-1]]).T,
    "DataFrame of two": pd.DataFrame({"a": TEXTS, "b": TEXTS[::-1]}),
    "named tuples": [Point(a, "b") for a in TEXTS],
    "polars of two": pl.DataFrame({"a": TEXTS, "b": TEXTS}),
    "an empty text": replaced(TEXTS, ""),
    "all empty": [""] * N,
    "white space": replaced(TEXTS, " \t\n\r "),
    "a NUL": replaced(TEXTS, "a\0b"),
    "controls": replaced(TEXTS, "".join(map(chr, range(32)))),
    "a BOM": replaced(TEXTS, "\ufefffilm"),
    "right to left": replaced(TEXTS, "\u202efilm\u202c"),
    "emoji": replaced(TEXTS, "\U0001f600\u200d\U0001f525"),
    "combining marks": replaced(TEXTS, "e" + "\u0301" * 500),
    "private use": replaced(TEXTS, "\ue000\uf8ff\U000f0000"),
    "noncharacters": replaced(TEXTS, "\ufffe\uffff"),
    "Chinese": replaced(TEXTS, "这部电影很好看"),
    "Arabic": replaced(TEXTS, "فيلم جيد جدا"),
    "special tokens": replaced(TEXTS, "[CLS] film [SEP] [MASK] [PAD] <s> </s>"),
    "braces": replaced(TEXTS, "{text} {0} {} {{"),
    "percent": replaced(TEXTS, "%s %d %(a)s"),
    "markup": replaced(TEXTS, "<script>alert(1)</script> &amp; \\u0041"),
    "very long": replaced(TEXTS, "film " * 5000),
    "one long word": replaced(TEXTS, "x" * 20_000),
    "all equal": ["film"] * N,
    "numerals": [str(i) for i in range(N)],
    "str of a path": [str(pathlib.Path("a") / text) for text in TEXTS],
}
X_REFUSED = {
    "None": None,
    "a str": "film",
    "bytes": b"film",
    "a number": 3,
    "a float": 2.5,
    "a bool": True,
    "Ellipsis": ...,
    "a function": len,
    "a class": str,
    "an empty list": [],
    "an empty tuple": (),
    "an empty array": np.array([]),
    "an empty Series": pd.Series([], dtype=str),
    "an empty table": pd.DataFrame({"text": []}),
    "a table without columns": pd.DataFrame(index=range(N)),
    "a dict": dict.fromkeys(TEXTS, 1),
    "dict of columns": {"text": TEXTS},
    "a set": {*TEXTS},
    "a frozenset": frozenset(TEXTS),
    "keys": dict.fromkeys(TEXTS).keys(),
    "a generator": (text for text in TEXTS),
    "an iterator": iter(TEXTS),
    "a map": map(str, TEXTS),
    "a zip": zip(TEXTS, TEXTS, strict=True),
    "a range": range(N),
    "numbers": list(range(N)),
    "floats": NUMBERS,
    "array of numbers": np.arange(N),
    "array of floats": np.ones((N, 3)),
    "bools": [True] * N,
    "list of bytes": [b"film"] * N,
    "array of bytes": np.array([b"film"] * N),
    "bytearrays": [bytearray(b"film")] * N,
    "a None": replaced(TEXTS, None),
    "a NaN": replaced(TEXTS, nan),
    "a NA": replaced(TEXTS, pd.NA),
    "a NaT": replaced(TEXTS, pd.NaT),
    "a number among texts": replaced(TEXTS, 3),
    "bytes among texts": replaced(TEXTS, b"film"),
    "a list among texts": replaced(TEXTS, ["film"]),
    "a text among lists": replaced([[text] for text in TEXTS], "film"),
    "a dict among texts": replaced(TEXTS, {}),
    "dicts": [{"text": text} for text in TEXTS],
    "objects": [object()] * N,
    "paths": [pathlib.Path("a")] * N,
    "dates": [datetime.date(2026, 1, 1)] * N,
    "members of an Enum": alternating(Mood.GOOD, Mood.BAD),
    "UUIDs": [uuid.UUID(int=i) for i in range(N)],
    "a lone surrogate": replaced(TEXTS, "half \ud83d"),
    "the other half": replaced(TEXTS, "\udc00 half"),
    "Series with None": pd.Series(replaced(TEXTS, None)),
    "Series with NA": pd.Series(replaced(TEXTS, pd.NA), dtype="string"),
    "categories with NaN": pd.Series(replaced(TEXTS, None), dtype="category"),
    "polars with null": pl.Series(replaced(TEXTS, None)),
    "pyarrow with null": pa.array(replaced(TEXTS, None)),
    "table with a number": pd.DataFrame({"a": TEXTS, "b": range(N)}),
    "table with None": pd.DataFrame({"a": TEXTS, "b": replaced(TEXTS, None)}),
    "ragged lists": [["a"], ["a", "b"]] * 4,
    "empty lists": [[]] * N,
    "a 0-d array": np.array("film"),
    "a 3-d array": np.array(TEXTS).reshape(2, 2, 2),
    "a sparse matrix": pytest.importorskip("scipy.sparse").eye(N),
    "masked": np.ma.array(NUMBERS, mask=[1] * N),
    "an array.array": array.array("d", NUMBERS),
    "memory": memoryview(b"12345678"),
    "column names of two kinds": pd.DataFrame({"a": TEXTS, 1: TEXTS}),
    "three columns": [(a, "b", "c") for a in TEXTS],
    "too few texts": ["film"],
}
Y_WORKS = {
    "list": LABELS,
    "tuple": tuple(LABELS),
    "array": np.array(LABELS),
    "objects": objects(*LABELS),
    "a column": np.array(LABELS).reshape(-1, 1),
    "ints": alternating(0, 1),
    "negative ints": alternating(-1, 1),
    "large ints": alternating(2**62, -(2**62)),
    "bools": alternating(True, False),
    "numpy's bools": np.array(alternating(True, False)),
    "whole floats": alternating(0.0, 1.0),
    "float32": np.array(alternating(0, 1), np.float32),
    "int8": np.array(alternating(-128, 127), np.int8),
    "uint64": np.array(alternating(0, 2**63), np.uint64),
    "ints and bools": [0, 1, True, False] * 2,
    "empty str": alternating("", "a"),
    "white space": alternating(" ", "  "),
    "nan as str": alternating("nan", "None"),
    "numerals": alternating("1", "2"),
    "long str": alternating("a" * 10_000, "b"),
    "Unicode": alternating("é", "e\u0301"),
    "a surrogate": alternating("\ud83d", "a"),
    "numpy's str": [np.str_(label) for label in LABELS],
    "mixed str": replaced(LABELS, np.str_("yes")),
    "Enum": alternating(Mood.GOOD, Mood.BAD),
    "IntEnum": alternating(Grade.LOW, Grade.HIGH),
    "StrEnum": alternating(Kind.ONE, Kind.TWO),
    "decimals": alternating(decimal.Decimal("1.5"), decimal.Decimal(2)),
    "fractions": alternating(fractions.Fraction(1, 2), fractions.Fraction(2)),
    "dates": alternating(datetime.date(2026, 1, 1), datetime.date(2025, 1, 1)),
    "UUIDs": alternating(uuid.UUID(int=1), uuid.UUID(int=2)),
    "datetime64": np.array(alternating("2026-01-01", "2025-01-01"), "M8[D]"),
    "Series": pd.Series(LABELS),
    "Series of another index": pd.Series(LABELS, index=range(90, 98)),
    "categories": pd.Series(LABELS, dtype="category"),
    "an unused category": pd.Categorical(LABELS, categories=["no", "yes", "maybe"]),
    "Int64": pd.Series(alternating(1, 2), dtype="Int64"),
    "boolean": pd.Series(alternating(True, False), dtype="boolean"),
    "string": pd.Series(LABELS, dtype="string"),
    "arrow": pd.Series(LABELS, dtype=pd.ArrowDtype(pa.string())),
    "one column": pd.DataFrame({"y": LABELS}),
    "polars": pl.Series(LABELS),
    "pyarrow": pa.array(LABELS),
    "three classes": ["a", "b", "c", "a"] * 2,
    "a class of one text": replaced(LABELS, "rare"),
    "all classes of one text": [f"c{i}" for i in range(N)],
    "indicators": np.array(alternating([0, 1], [1, 1])),
    "lists of indicators": alternating([0, 1], [1, 0]),
    "bool indicators": np.array(alternating([True, False], [False, True])),
    "table of indicators": pd.DataFrame({"a": alternating(0, 1), "b": [1, 1] * 4}),
    "sparse indicators": pytest.importorskip("scipy.sparse").csr_matrix(
        alternating([0, 1], [1, 0])
    ),
    "a column of no one": np.array(alternating([0, 0], [1, 0])),
    # Texts without a label.
    "a NaN among str": replaced(LABELS, nan),
    "a None": replaced(LABELS, None),
    "a NA": replaced(LABELS, pd.NA),
    "a NaT": replaced(LABELS, pd.NaT),
    "a NaN among floats": replaced(alternating(0.0, 1.0), nan),
    "Series with None": pd.Series(replaced(LABELS, None)),
    "Int64 with NA": pd.Series(replaced(alternating(1, 2), None), dtype="Int64"),
    "polars with null": pl.Series(replaced(LABELS, None)),
    "pyarrow with null": pa.array(replaced(LABELS, None)),
}
Y_REFUSED = {
    "None": None,
    "a str": "yesnoyes",
    "a number": 1,
    "too few": LABELS[:-1],
    "too many": [*LABELS, "yes"],
    "empty": [],
    "one class": ["yes"] * N,
    "nothing but None": [None] * N,
    "nothing but NaN": [nan] * N,
    "infinity": replaced(alternating(0.0, 1.0), float("inf")),
    "fractions of one": [0.5, 1.5, 2.5, 0.1] * 2,
    "str and int": alternating("yes", 1),
    "int and str": alternating(1, "1"),
    "str and Enum": alternating("g", Mood.BAD),
    "int and IntEnum": alternating(1, Grade.HIGH),
    "date and str": alternating(datetime.date(2026, 1, 1), "2026-01-01"),
    "two Enums": alternating(Mood.GOOD, Grade.LOW),
    "bytes": np.array(alternating(b"a", b"b")),
    "bytes and str": alternating(b"a", "a"),
    "sets": alternating({"a"}, {"b"}),
    "frozensets": alternating(frozenset("a"), frozenset("b")),
    "dicts": alternating({}, {"a": 1}),
    "ragged lists": alternating(["a"], ["a", "b"]),
    "a table of three values": np.array(alternating([0, 2], [1, 0])),
    "a table of str": np.array(alternating(["a", "b"], ["b", "a"])),
    "a table with NaN": np.array(alternating([0, nan], [1, 0])),
    "a table of NaN": np.full((N, 2), nan),
    "3-d": np.zeros((N, 2, 2)),
    "0-d": np.array("yes"),
    "masked": np.ma.array(alternating(0, 1), mask=[1] + [0] * 7),
    "a generator": (label for label in LABELS),
    "a dict": dict(enumerate(LABELS)),
}
TARGETS_WORK = {
    "floats": NUMBERS,
    "ints": [1, 2, 3, 4] * 2,
    "bools": alternating(True, False),
    "array": np.array(NUMBERS),
    "float32": np.array(NUMBERS, np.float32),
    "float16": np.array(NUMBERS, np.float16),
    "a column": np.array(NUMBERS).reshape(-1, 1),
    "Series": pd.Series(NUMBERS),
    "Float64": pd.Series(NUMBERS, dtype="Float64"),
    "polars": pl.Series(NUMBERS),
    "pyarrow": pa.array(NUMBERS),
    "decimals": [decimal.Decimal(i) for i in range(N)],
    "fractions": [fractions.Fraction(i, 2) for i in range(N)],
    "all equal": [2.0] * N,
    "all zero": [0.0] * N,
    "tiny": [1e-300 * i for i in range(N)],
    "huge": [1e60 * i for i in range(N)],
    "an outlier": replaced(NUMBERS, 1e12),
    "two targets": np.array([NUMBERS, NUMBERS[::-1]]).T,
    "a constant target": np.array([NUMBERS, [1] * N]).T,
    "table": pd.DataFrame({"a": NUMBERS, "b": NUMBERS}),
    "large ints": [10**15 + i for i in range(N)],
}
TARGETS_REFUSED = {
    "None": None,
    "str": LABELS,
    "numerals": [str(i) for i in range(N)],
    "a str": replaced(NUMBERS, "3"),
    "NaN": replaced(NUMBERS, nan),
    "a None": replaced(NUMBERS, None),
    "a NA": pd.Series(replaced([1, 2, 3, 4] * 2, None), dtype="Int64"),
    "infinity": replaced(NUMBERS, float("inf")),
    "above all": replaced(NUMBERS, 1e200),
    "complex": replaced(NUMBERS, 1j),
    "dates": [datetime.datetime(2026, 1, 1)] * N,
    "datetime64": np.array(["2026-01-01"] * N, "M8[D]"),
    "timedelta64": np.arange(N).astype("m8[D]"),
    "too few": NUMBERS[:-1],
    "empty": [],
    "a number": 3.0,
    "ragged": alternating([1.0], [1.0, 2.0]),
    "3-d": np.zeros((N, 1, 2)),
    "objects": [object()] * N,
    "dicts": [{}] * N,
}
TAGS_WORK = {
    "lists": TAGS,
    "tuples": [("A", "B")] * N,
    "arrays": [np.array(["A", "B"])] * N,
    "array of lists": objects(*TAGS),
    "ints": [[0, 1]] * N,
    "Series": pd.Series(TAGS),
    "entities": [["B-PER", "O"]] * N,
    "None as a mark": replaced(TAGS, ["A", None]),
    "NaN as a mark": replaced(TAGS, ["A", nan]),
    "NA as a mark": replaced(TAGS, [pd.NA, "B"]),
    "-100 as a mark": replaced([[0, 1]] * N, [-100, 1]),
    "-100 among str": replaced(TAGS, ["A", -100]),
    "no word of a text": replaced(TAGS, [None, None]),
    "Unicode": [["é", "e\u0301"]] * N,
}
TAGS_REFUSED = {
    "None": None,
    "a str": "AB",
    "str": ["AB"] * N,
    "flat": ["A", "B"] * N,
    "too few texts": TAGS[:-1],
    "too few labels": replaced(TAGS, ["A"]),
    "too many labels": replaced(TAGS, ["A", "B", "A"]),
    "an empty list": replaced(TAGS, []),
    "a None for a text": replaced(TAGS, None),
    "str and int": replaced(TAGS, ["A", 1]),
    "floats": [[0.5, 1.5]] * N,
    "one label": [["A", "A"]] * N,
    "no label": [[None, None]] * N,
    "lists": [[["A"], ["B"]]] * N,
    "sets": [{"A", "B"}] * N,
}
WEIGHTS_WORK = {
    "list": [1, 2] * 4,
    "floats": np.linspace(0.1, 2, N),
    "some zero": alternating(0, 1)[:-2] + [1, 1],
    "Series": pd.Series(np.ones(N)),
    "polars": pl.Series(np.ones(N)),
    "huge": [1e39] * N,
    "tiny": [1e-46] * N,
    "bools": [True] * N,
    "int8": np.ones(N, np.int8),
    "one number": 2.0,
}
WEIGHTS_REFUSED = {
    "negative": replaced([1.0] * N, -1),
    "NaN": replaced([1.0] * N, nan),
    "infinity": replaced([1.0] * N, float("inf")),
    "all zero": [0] * N,
    "too few": [1] * 7,
    "a column": np.ones((N, 1)),
    "str": ["1"] * 7 + ["x"],
    "a None": replaced([1.0] * N, None),
    "of too many sizes": replaced([1.0] * N, 1e39),
    "dict": {"yes": 1},
}
GROUPS_WORK = {
    "ints": [1, 1, 2, 2, 3, 3, 4, 4],
    "str": ["a", "a", "b", "b"] * 2,
    "Series": pd.Series([1, 1, 2, 2, 3, 3, 4, 4]),
    "categories": pd.Series(["a", "b"] * 4, dtype="category"),
}
GROUPS_REFUSED = {
    "one": [1] * N,
    "too few": [1, 2],
    "a None": replaced([1, 2] * 4, None),
    "a NaN": replaced([1.0, 2.0] * 4, nan),
    "a table": np.ones((N, 2)),
}
CLASSIFIER_WORKS = {
    "class_weight balanced": {"class_weight": "balanced"},
    "class_weight": {"class_weight": {"yes": 2, "no": 0.5}},
    "class_weight of one": {"class_weight": {"yes": 2}},
    "label_texts": {"label_texts": {"yes": "good", "no": "bad"}},
    "label_texts of labels": {"label_texts": "labels"},
    "label_texts of lists": {"label_texts": {"yes": ["good"], "no": ["bad", "dull"]}},
    "label_texts of a third": {"label_texts": {"yes": "good", "no": "bad", "so": "so"}},
    "ordinal": {"ordinal": ["no", "yes"]},
    "prompt with a slot": {"prompt": 'Film: "{text}" was'},
    "prompt in Unicode": {"prompt": "这部电影"},
    "tuned_layers": {"tuned_layers": (0, 1)},
    "max_length": {"max_length": 16},
    "batch_size": {"batch_size": 10**6},
    "time_limit": {"time_limit": 1e9},
    "numpy's numbers": {"lr": np.float32(1e-3), "max_epochs": np.int64(1)},
}
CLASSIFIER_REFUSED = {
    "class_weight of a word": {"class_weight": "even"},
    "class_weight of others": {"class_weight": {"maybe": 1}},
    "class_weight below zero": {"class_weight": {"yes": -1}},
    "class_weight NaN": {"class_weight": {"yes": nan}},
    "class_weight zero of two": {"class_weight": {"yes": 0}},
    "class_weight of a list": {"class_weight": [1, 2]},
    "label_texts of one": {"label_texts": {"yes": "good"}},
    "label_texts of others": {"label_texts": {"a": "good", "b": "bad"}},
    "label_texts empty": {"label_texts": {"yes": "", "no": "bad"}},
    "label_texts twice": {"label_texts": {"yes": ["good", "so"], "no": "so"}},
    "label_texts empty list": {"label_texts": {"yes": [], "no": "bad"}},
    "label_texts of a word": {"label_texts": "yes"},
    "label_texts of numbers": {"label_texts": {"yes": 1, "no": 2}},
    "label_texts of a list": {"label_texts": ["good", "bad"]},
    "ordinal of names": {"ordinal": True},
    "ordinal of others": {"ordinal": ["a", "b"]},
    "ordinal of a str": {"ordinal": "yes"},
    "ordinal twice": {"ordinal": ["no", "no"]},
    "threshold": {"threshold": 0.9},
    "threshold of one": {"threshold": 1},
    "threshold of two": {"threshold": [0.5, 0.5]},
    "prompt of nothing": {"prompt": ""},
    "prompt of white space": {"prompt": "  "},
    "prompt of a number": {"prompt": 3},
    "prompt with two slots": {"prompt": "{a} {b}"},
    "prompt with a slot twice": {"prompt": "x {text} {text}"},
    "prompt with a brace": {"prompt": "x {text"},
    "prompt with a surrogate": {"prompt": "x \ud83d"},
    "model of None": {"model": None},
    "model of a number": {"model": 3},
    "method": {"method": "magic"},
    "adapter": {"adapter": "lora"},
    "adapter_rank": {"adapter_rank": 0},
    "tuned_layers": {"tuned_layers": (3, 1)},
    "max_length": {"max_length": 0},
    "long_texts": {"long_texts": "cut"},
    "lr": {"lr": 0},
    "lr of NaN": {"lr": nan},
    "lr of a str": {"lr": "fast"},
    "max_epochs": {"max_epochs": 0},
    "max_epochs of a float": {"max_epochs": 1.5},
    "batch_size": {"batch_size": 0},
    "device": {"device": "tpu9"},
    "model_kwargs": {"model_kwargs": {"trust_remote_code": True}},
    "model_kwargs of a list": {"model_kwargs": ["dtype"]},
    "dtype": {"model_kwargs": {"dtype": "int4"}},
    "training": {"training": {"epochs": 3}},
    "training of a list": {"training": ["dropout"]},
    "dropout": {"training": {"dropout": 1.5}},
    "callbacks": {"training": {"callbacks": [42]}},
    "callbacks of a str": {"training": {"callbacks": "progress"}},
    "random_state": {"random_state": "seed"},
    "time_limit": {"time_limit": 0},
    "time_limit of NaN": {"time_limit": nan},
    "verbose": {"verbose": -1},
}


def make(estimator, model, **params):
    fast = FAST | {"model": model, "max_epochs": 1, "prompt": None}
    return estimator(**with_training(fast, **params.pop("training", {})) | params)


def table(**cases):
    """Return pytest's parameters: the kind of the input, and the input."""
    return [
        pytest.param(kind, value, id=f"{kind}: {name}")
        for kind, values in cases.items()
        for name, value in values.items()
    ]


def frozen(value):
    """Return a value's bytes, to see whether it has been changed."""
    if isinstance(value, pd.Series):  # its pickle says what has been asked of it
        return repr((value.tolist(), value.index.tolist(), value.dtype))
    try:
        return pickle.dumps(value)
    except (TypeError, AttributeError, pickle.PicklingError):
        return None


def fit(kind, value, model):
    """Fit with one odd input, and predict; return the estimator."""
    X, y, more, params = TEXTS, LABELS, {}, {}
    estimator = SKTuningClassifier
    if kind == "X":
        X = value
    elif kind == "X of words":
        estimator, X, y = SKTuningTokenClassifier, value, TAGS
    elif kind == "y":
        y = value
    elif kind == "targets":
        estimator, y = SKTuningRegressor, value
    elif kind == "tags":
        estimator, X, y = SKTuningTokenClassifier, WORDS, value
    elif kind == "parameters":
        params = value
    else:
        more = {kind: value}
    return make(estimator, model, **params).fit(X, y, **more), X


@pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")
@pytest.mark.parametrize(
    ("kind", "value"),
    table(
        X=X_WORKS,
        y=Y_WORKS,
        targets=TARGETS_WORK,
        tags=TAGS_WORK,
        sample_weight=WEIGHTS_WORK,
        groups=GROUPS_WORK,
        parameters=CLASSIFIER_WORKS,
    ),
)
def test_input_when_it_makes_sense_then_works_and_is_not_changed(
    kind, value, tiny_bert
):
    before = frozen(value)
    fitted, X = fit(kind, value, tiny_bert)
    predicted = fitted.predict(X)
    assert len(predicted) == N
    assert frozen(value) == before
    if hasattr(fitted, "predict_proba"):
        assert all(np.isfinite(row).all() for row in fitted.predict_proba(X))
    elif predicted.dtype != object:
        assert np.isfinite(predicted).all()
    if kind == "y" and predicted.ndim == 1:
        assert {*predicted.tolist()} <= {*fitted.classes_.tolist()}


@pytest.mark.parametrize(
    ("kind", "value"),
    table(
        X=X_REFUSED,
        y=Y_REFUSED,
        targets=TARGETS_REFUSED,
        tags=TAGS_REFUSED,
        sample_weight=WEIGHTS_REFUSED,
        groups=GROUPS_REFUSED,
        parameters=CLASSIFIER_REFUSED,
    ),
)
def test_input_when_it_makes_none_then_refused_before_any_loading(kind, value):
    before = frozen(value)
    with pytest.raises((ValueError, TypeError)) as raised:
        fit(kind, value, "no-such-model")
    assert not isinstance(raised.value, BackboneNotFoundError)
    assert len(str(raised.value)) > 20
    assert frozen(value) == before


@pytest.mark.parametrize("name", sorted(X_REFUSED.keys() - {"too few texts"}))
def test_prediction_when_texts_make_no_sense_then_refused(name, fitted):
    value = X_REFUSED[name]
    with pytest.raises((ValueError, TypeError)) as raised:
        fitted.predict(value)
    assert len(str(raised.value)) > 20
