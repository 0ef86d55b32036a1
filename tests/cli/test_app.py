"""The command line, from files to files."""

import gzip
import io
import json
import os
import signal
from dataclasses import asdict

import pandas as pd
import pytest
from conftest import LABELS, TEXTS
from typer.testing import CliRunner

from sksemantic import SKTuningClassifier
from sksemantic._cli import predicting
from sksemantic._cli.app import app
from sksemantic._cli.options import Serving

COLUMNS = ["--text", "review", "--target", "label"]
FRAME = pd.DataFrame({"id": range(len(TEXTS)), "review": TEXTS, "label": LABELS})


def sk(*arguments, code=0, data=None):
    """Run a command in this process; return stdout and stderr."""
    result = CliRunner().invoke(app, [*map(str, arguments)], input=data)
    assert result.exit_code == code, (result.output, result.exception)
    assert (not code) or "Traceback" not in result.output
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_bert):
    """Return a directory with a file to train on, and models fitted to it."""
    folder = tmp_path_factory.mktemp("cli")
    FRAME.to_csv(folder / "train.csv", index=False)
    numbers = FRAME.assign(stars=[4.5 if x == "good" else 1.5 for x in LABELS])
    numbers.to_csv(folder / "numbers.csv", index=False)
    return folder


@pytest.fixture
def options(tiny_bert):
    return ["--model", tiny_bert, "--max-epochs", "1", "--random-state", "0"]


@pytest.fixture(scope="module")
def model(folder, tiny_bert):
    """Return a directory that `fit` has written, its backbone in it."""
    place = folder / "model"
    fast = ["--model", tiny_bert, "--max-epochs", 1, "--random-state", 0]
    out, err = sk(
        *("fit", folder / "train.csv", *COLUMNS, "--out", place, "--with-backbone"),
        *("--test", folder / "train.csv", *fast),
        *("--set", "training__contrast=0", "--set", "batch_size=8"),
    )
    assert "24 rows, 24 used" in out
    assert "Classification, because 'label' holds labels such as 'good'." in out
    assert "2 classes: bad 12, good 12." in out
    assert "Held out: 24 rows: accuracy" in out
    assert "Classifier: done" in err
    return place


def test_fit_when_done_then_the_model_is_read_from_python(model):
    clf = SKTuningClassifier.from_pretrained(model)
    assert clf.training == {"contrast": 0}
    assert (clf.batch_size, clf.max_epochs) == (8, 1)
    assert json.loads((model / "columns.json").read_text())["text"] == ["review"]


def test_fit_when_the_place_is_taken_then_refused_before_the_work(model, folder):
    start = ["fit", folder / "train.csv", *COLUMNS, "--out"]
    assert "--force replaces it" in sk(*start, model, code=2)[1]
    (folder / "other").mkdir()
    (folder / "other/config.json").write_text("{}")
    _, err = sk(*start, folder / "other", "--force", code=2)
    assert "something else than a model" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "reviw"], "no column 'reviw'. Did you mean 'review'?"),
        (["--set", "max_epoch=1"], "Did you mean 'max_epochs'"),
        (["--set", "contrast=1"], "Did you mean 'training__contrast'"),
        (["--set", "lr=fast"], "The 'lr' parameter"),
        (["--set", "lr"], "must be NAME=VALUE"),
        (["--prompt", "{title}: {text}"], "The 'prompt' parameter"),
        (["--task", "regression"], "must hold numbers for a regression. Got 'good'"),
        (["--label-texts", "none.json"], "No such file"),
        (["--test", "none.csv"], "no file 'none.csv'"),
        (["--format", "parquet"], "cannot be read as parquet"),
        (["--delimiter", "||"], "must be one character"),
        (["--encoding", "latin-0"], "unknown encoding"),
    ],
)
def test_fit_when_an_argument_is_wrong_then_says_what_is(arguments, message, folder):
    columns = COLUMNS[2:] if "--text" in arguments else COLUMNS
    code = 1 if "parquet" in arguments else 2
    start = ["fit", folder / "train.csv", *columns, "--out", folder / "none"]
    out, err = sk(*start, *arguments, code=code)
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (folder / "none").exists()


def test_fit_when_the_target_has_numbers_then_regression(folder, options):
    place = folder / "regressor"
    columns = ["--text", "review", "--target", "stars"]
    out, _ = sk(
        *("fit", folder / "numbers.csv", *columns, "--out", place, *options),
        *("--test-size", "0.25"),
    )
    assert "Regression, because 'stars' holds numbers with a decimal point" in out
    assert "Held out: 6 rows: R2" in out
    rest = ["--model", options[1]]
    out, _ = sk("evaluate", place, folder / "numbers.csv", "--json", *rest)
    assert json.loads(out).keys() == {"n_rows", "r2", "mean_absolute_error", "spearman"}
    _, err = sk("predict", place, folder / "train.csv", "--proba", *rest, code=2)
    assert "--proba needs a classifier" in err
    _, err = sk("predict", place, folder / "train.csv", code=1)
    assert "--with-backbone of fit" in err


@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.jsonl", "p.parquet", "p.csv.gz"])
def test_predict_when_written_then_the_rows_are_those_of_python(
    name, model, folder, monkeypatch, tmp_path
):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(predicting, "_ROWS_AT_ONCE", 10)
    place = tmp_path / name
    sk("predict", model, folder / "train.csv", "--out", place, "--proba")
    read = {
        "p.jsonl": lambda path: pd.read_json(path, lines=True),
        "p.parquet": pd.read_parquet,
        "p.tsv": lambda path: pd.read_csv(path, sep="\t"),
    }.get(name, pd.read_csv)
    found = read(place)
    clf = SKTuningClassifier.from_pretrained(model)
    assert [*map(int, found.id)] == FRAME.id.tolist()
    assert found.review.tolist() == TEXTS
    assert found.prediction.tolist() == clf.predict(TEXTS).tolist()
    proba = found[["probability_bad", "probability_good"]]
    assert abs(proba - clf.predict_proba(TEXTS)).max(axis=None) < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert "--force" in sk("predict", model, place, "--out", place, code=2)[1]
    # What was written is read, and replaced once it has been.
    again = ["--only-predictions", "--out", place, "--force"]
    sk("predict", model, place, *again)
    assert read(place).columns.tolist() == ["prediction"]


@pytest.mark.filterwarnings("ignore::sksemantic.UnreadableTextWarning")
def test_predict_when_piped_then_from_and_to_standard_streams(model):
    data = '\ufeffreview\ngood\n\n"é, ""NA"""\n日本\n'
    out, err = sk("predict", model, "-", data=data.encode())
    assert pd.read_csv(io.StringIO(out)).review.tolist() == ["good", 'é, "NA"', "日本"]
    lines = '{"review": "good", "n": 1}\n{"n": 2, "new": [1]}\n'
    out, err = sk("predict", model, "-", "--format", "jsonl", data=lines)
    records = [*map(json.loads, out.splitlines())]
    assert [record["n"] for record in records] == [1, 2]
    assert records[1]["review"] is None
    assert "1 row with an empty cell read as an empty text." in err


def test_predict_when_it_fails_half_way_then_no_file_stands(
    model, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(predicting, "_ROWS_AT_ONCE", 2)
    file = tmp_path / "in.jsonl"
    file.write_text('{"review": "a"}\n' * 3 + "{\n")
    _, err = sk("predict", model, file, "--out", tmp_path / "out.jsonl", code=1)
    assert "line 4 is no JSON" in err
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("review,label\n", "has no rows"),
        ("review;label\na;b\n", "add --delimiter ';'"),
        ("review,label\na,b\nc,d,e\n", "Expected 2 fields in line 3, saw 3"),
        ("review,label\na,b,c\n", "more cells than the header"),
        ('review,label\n"a,b\n', "EOF inside string"),
        ("review,label\ncaf\xe9,b\n", "--encoding cp1252"),
        (
            "review,label\na,b\n,b\n",
            "1 cell of the column 'review', the first in row 2",
        ),
    ],
)
def test_predict_when_a_file_is_broken_then_says_how(content, message, model, tmp_path):
    file = tmp_path / "in.csv"
    file.write_bytes(content.encode("latin-1"))
    code = 2 if ";" in content else 1
    _, err = sk("predict", model, file, "--empty", "error", code=code)
    assert message in err


def test_predict_when_there_is_no_model_then_says_so(model, folder, tiny_bert):
    file = folder / "train.csv"
    assert "no directory" in sk("predict", folder / "x", file, code=2)[1]
    assert "is no model" in sk("predict", tiny_bert, file, code=2)[1]
    assert "is a directory" in sk("predict", model, folder, code=2)[1]
    assert "not known by its name" in sk("predict", model, __file__, code=2)[1]


def test_predict_when_saved_again_from_python_then_columns_are_asked_for(
    model, folder, tmp_path
):
    clf = SKTuningClassifier.from_pretrained(model)
    clf.save_pretrained(tmp_path, backbone=True)
    _, err = sk("predict", tmp_path, folder / "train.csv", code=2)
    assert "Name it: --text. The columns are 'id', 'review', 'label'." in err
    sk("predict", tmp_path, folder / "train.csv", "--text", "review")


def test_evaluate_when_called_then_scores_and_report(model, folder):
    out, _ = sk("evaluate", model, folder / "train.csv")
    clf = SKTuningClassifier.from_pretrained(model)
    assert f"24 rows: accuracy {clf.score(TEXTS, LABELS):.4f}, macro-F1" in out
    assert "precision    recall" in out
    found = json.loads(sk("evaluate", model, folder / "train.csv", "--json")[0])
    assert found["accuracy"] == pytest.approx(clf.score(TEXTS, LABELS))
    assert found["classes"].keys() == {"bad", "good"}


def test_explain_when_called_then_the_words_and_a_page(model, folder, tmp_path):
    out, _ = sk("explain", model, folder / "train.csv", "-n", 2, "--label", "good")
    headings = {line.partition(": ")[0] for line in out.splitlines()[::2]}
    assert headings <= {"good", "good (bad is predicted)"}
    assert "\x1b" not in out  # no terminal
    page = tmp_path / "page.html"
    sk("explain", model, folder / "train.csv", "--html", page)
    assert page.read_text().count("<b>") == 5
    _, err = sk("explain", model, folder / "train.csv", "--label", "x", code=2)
    assert "--label must be one of bad, good" in err


def test_compare_prompts_when_called_then_the_best_first(folder, options, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("Rate the film.\n\nGood or bad: {text}\n")
    start = ["compare-prompts", folder / "train.csv", *COLUMNS, *options, "--cv", 2]
    out, _ = sk(*start, "--prompts", file, "--out", tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv")
    assert table.columns.tolist() == ["score", "spread", "seconds", "prompt"]
    assert {*table.prompt} == {"Rate the film.", "Good or bad: {text}"}
    assert table.score.is_monotonic_decreasing
    assert out.splitlines()[-1].endswith(table.prompt[1])
    assert "two prompts or more" in sk(*start, "--prompt", "a", code=2)[1]
    _, err = sk(*start, "--prompts", file, "--scoring", "acc", code=2)
    assert "Did you mean 'accuracy'" in err
    _, err = sk(*start, "--prompt", "a", "--prompt", "{b}", code=2)
    assert "The prompt '{b}' cannot be used" in err


def test_predict_when_cells_are_lists_then_they_are_json(model, tmp_path):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"review": ["good", "bad"], "label": "", "l": [[1, 2], [3]]})
    table.to_parquet(tmp_path / "lists.parquet")
    for name in ("out.jsonl", "out.csv"):
        sk("predict", model, tmp_path / "lists.parquet", "--out", tmp_path / name)
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert first["l"] == [1, 2]
    assert pd.read_csv(tmp_path / "out.csv")["l"].tolist() == ["[1, 2]", "[3]"]


def test_fit_when_a_directory_holds_no_model_then_is_not_replaced(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    start = ["fit", folder / "train.csv", *COLUMNS, "--out", tmp_path, "--force"]
    assert "something else than a model" in sk(*start, code=2)[1]


def test_estimate_time_when_called_then_a_sentence(folder, options):
    out, _ = sk("estimate-time", folder / "train.csv", *COLUMNS, *options)
    assert out.splitlines()[-1].startswith("At most about ")
    several = ("--set", "training__objective=task")
    out, _ = sk("estimate-time", folder / "train.csv", *COLUMNS, *options, *several)
    assert out.splitlines()[-1].startswith("About ")


def test_pairs_when_the_columns_are_named_by_the_prompt_then_remembered(
    options, tmp_path
):
    pairs = pd.DataFrame({"a": TEXTS, "b": TEXTS[::-1], "n": [0, 1, 2] * 8})
    with gzip.open(tmp_path / "pairs.jsonl.gz", "wt") as file:
        pairs.to_json(file, orient="records", lines=True)
    columns = ["--text", "a", "--text", "b", "--target", "n"]
    out, _ = sk(
        *("fit", tmp_path / "pairs.jsonl.gz", *columns, "--out", tmp_path / "model"),
        *(*options, "--prompt", "{b} of {a}", "--class-weight", '{"0": 2, "1": 1}'),
        *("--ordinal", "--set", "class_weight=null", "--set", "verbose=0"),
    )
    assert "'n' holds 3 different whole numbers" in out
    pairs.rename(columns={"a": "c"}).to_csv(tmp_path / "new.csv", index=False)
    start = ["predict", tmp_path / "model", tmp_path / "new.csv", "--model", options[1]]
    assert "no column 'a'" in sk(*start, code=2)[1]
    out, _ = sk(*start, "--text", "c", "--text", "b", "--only-predictions", "--proba")
    assert out.splitlines()[0].endswith("probability_0,probability_1,probability_2")


def test_help_when_asked_for_then_nothing_heavy_is_imported(run_python):
    heavy = run_python(
        """
        import sys
        from typer.testing import CliRunner
        from sksemantic._cli.app import app
        assert "fit" in CliRunner().invoke(app, ["--help"]).output
        import sksemantic.__main__
        assert "--text" in CliRunner().invoke(app, ["fit", "--help"]).output
        assert "sksemantic 0" in CliRunner().invoke(app, ["--version"]).output
        print({"torch", "transformers", "sklearn", "pandas"} & set(sys.modules))
        """
    )
    assert heavy.strip() == "set()"


def test_file_when_it_is_not_there_then_is_told_before_torch_is_imported(run_python):
    heavy = run_python(
        """
        import sys
        from typer.testing import CliRunner
        from sksemantic._cli.app import app
        options = "--text", "a", "--target", "b", "--out", "new"
        for start in (["fit"], ["predict", "new"], ["explain", "new"]):
            rest = options if start == ["fit"] else ()
            result = CliRunner().invoke(app, [*start, "none.csv", *rest])
            assert "no file 'none.csv'" in result.output, result.output
        print({"torch", "transformers"} & set(sys.modules))
        """
    )
    assert heavy.strip() == "set()"


@pytest.mark.filterwarnings("default")
def test_warning_when_given_then_a_line_and_once_in_a_file(model, monkeypatch):
    monkeypatch.setattr(predicting, "_ROWS_AT_ONCE", 2)
    data = "review\n" + "good\n" * 2 + "日本\n" * 4
    _, err = sk("predict", model, "-", data=data)
    (line,) = err.strip().splitlines()
    assert line.startswith("Warning: Rows 3 to 4, counted from 0 in it: 2 of 2 texts")


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")
@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_when_sent_then_ends_without_a_traceback(
    model, folder, monkeypatch, tmp_path
):
    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SKTuningClassifier, "predict", interrupted)
    place = tmp_path / "out.csv"
    _, err = sk("predict", model, folder / "train.csv", "--out", place, code=130)
    assert err.splitlines()[-1] == "Interrupted."
    assert not [*tmp_path.iterdir()]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_reader_when_it_has_gone_then_ends_silently(model, folder, monkeypatch):
    def broken(*args, **kwargs):
        raise BrokenPipeError

    monkeypatch.setattr(predicting, "predict", broken)
    _, err = sk("predict", model, folder / "train.csv", code=141)
    assert not err


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([*map(float, range(24)), "inf"], "holds numbers, and 1 cell(s)"),
        ([f"2024-01-{day:02}" for day in range(1, 26)], "hardly are labels"),
    ],
    ids=["a cell that is no number", "dates"],
)
def test_fit_when_cells_are_hardly_labels_then_asks(targets, message, folder):
    frame = pd.DataFrame({"review": [*TEXTS, TEXTS[0]], "label": targets})
    frame.to_csv(folder / "odd.csv", index=False)
    place = folder / "none"
    _, err = sk("fit", folder / "odd.csv", *COLUMNS, "--out", place, code=2)
    assert message in err
    assert not place.exists()


def test_fit_when_the_place_cannot_be_made_then_refused_before_the_work(folder):
    place = folder / "train.csv" / "model"
    out, err = sk("fit", folder / "train.csv", *COLUMNS, "--out", place, code=2)
    assert "There is no directory" in err
    assert "24 rows" not in out


def test_evaluate_when_no_target_is_a_class_then_says_so(model, folder):
    start = ["evaluate", model, folder / "train.csv", "--target", "id"]
    assert "its classes are bad, good" in sk(*start, code=2)[1]


def test_serve_when_there_is_no_model_then_refused(tmp_path):
    _, err = sk("serve", tmp_path, code=2)
    assert "is no model that" in err
    _, err = sk("serve", tmp_path / "nothing", code=2)
    assert "There is no directory" in err


def test_serve_when_a_limit_does_not_fit_then_refused(model):
    _, err = sk("serve", model, "--queue-texts", 3, code=2)
    assert "'request_texts' parameter must be at most 'queue_texts', 3" in err


def test_serve_when_nothing_is_said_then_has_the_limits_of_the_application():
    pytest.importorskip("fastapi")
    from sksemantic._serving.limits import Limits

    options, limits = asdict(Serving()), asdict(Limits())
    assert {name: options[name] for name in limits} == limits
