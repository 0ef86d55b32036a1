import io
import sys
import threading
from contextlib import redirect_stderr

from tqdm import tqdm
from transformers.utils import logging

from sksemantic._backbone.silence import silence_transformers


def write(text):
    print(text, end="", file=sys.stderr)  # noqa: T201


def write_in_another_thread(text):
    thread = threading.Thread(target=write, args=(text,))
    thread.start()
    thread.join()


def test_stderr_when_silent_then_other_threads_still_write():
    with redirect_stderr(io.StringIO()) as shown:
        with silence_transformers():
            write("lost")
            [*tqdm([1])]
            write_in_another_thread("kept")
        write(", and later")
        assert sys.stderr is shown
    assert shown.getvalue() == "kept, and later"


def test_stderr_when_held_by_another_thread_then_is_written_afterwards():
    with redirect_stderr(io.StringIO()) as shown:
        with silence_transformers():
            held = sys.stderr
        held.write("kept")
        held.flush()
    assert shown.getvalue() == "kept"


def test_stderr_when_redirected_meanwhile_then_stays_so():
    others = io.StringIO()
    with redirect_stderr(io.StringIO()):
        with silence_transformers():
            sys.stderr = others
        assert sys.stderr is others


def test_stderr_when_there_is_none_then_nothing_fails():
    with redirect_stderr(None):
        with silence_transformers():
            write_in_another_thread("lost")
            sys.stderr.flush()
        assert sys.stderr is None


def test_settings_when_silent_then_are_the_users_again():
    verbosity = logging.get_verbosity()
    logging.set_verbosity_info()
    try:
        with silence_transformers():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(verbosity)
