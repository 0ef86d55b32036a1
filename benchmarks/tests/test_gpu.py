import argparse

import gpu
import gpu_models
import pytest
from gpu_clock import Clock


def args_of(file, **changes):
    given = {"sizes": ["tiny"], "methods": gpu.METHODS, "steps": 2, "seconds": 1e6}
    given |= {"shapes": [(2, 8), (2, 16)], "file": file} | changes
    return argparse.Namespace(**given)


def test_clock_when_steps_end_then_only_some_are_counted():
    clock = Clock(n_warm=1, n_steps=2)
    for n_texts in (50, 4, 2, 50, 50, 50):
        clock.tick(n_texts)
    assert (clock.n_texts, clock.n_done) == (6, 6)
    found = clock.outcome(batch_size=4)
    assert found["seconds_a_step"] > 0
    assert found["kernels"] == {}


def test_clock_when_there_were_too_few_steps_then_error():
    clock = Clock(n_warm=1, n_steps=2)
    clock.tick(4)
    with pytest.raises(RuntimeError, match="1 of 5 steps"):
        clock.outcome(batch_size=4)


def test_tokenizer_when_texts_are_of_random_words_then_one_token_each():
    ids = gpu_models.random_ids("tiny", 3, 7, seed=0)
    tokenizer = gpu_models.tokenizer(gpu_models.SIZES["tiny"]["vocab_size"])
    assert tokenizer(gpu_models.texts_of(ids))["input_ids"] == ids.tolist()


def test_plan_when_the_time_is_over_then_the_rest_is_named(tmp_path):
    skipped = []
    args = args_of(tmp_path / "rows.jsonl", seconds=-1)
    assert list(gpu.plan(args, tmp_path, skipped)) == []
    # Of all methods both shapes, but of the one with a device map.
    assert len(skipped) == 2 * len(gpu.METHODS) - 1
    assert skipped[0] == "gpu-tiny-2x8 ours"


def test_verdicts_when_rows_have_no_memory_then_seconds_are_judged():
    def row(method, seconds):
        found = {"task": "t", "method": method, "seconds_a_step": seconds}
        return found | {"step_peak_mib": None}

    rows = [row("ours", 1.0), row(gpu.FLOOR, 0.5), row("lora", 2.0)]
    assert list(gpu.verdicts(rows)) == [
        "t ours: 2.00 of floor, bar 1.4: MISSED",
        "t ours: 0.50 of LoRA's seconds, bar 0.5: within",
    ]
