"""Steps of a training: seconds, memory, attention kernels and waits for the GPU."""

import time
import warnings

import torch
from torch.profiler import ProfilerActivity, profile

# How torch's operations of attention begin; what follows is the kernel.
_ATTENTION = "aten::_scaled_dot_product_"
_WAITS = "called a synchronizing"  # of torch's warning


def synchronize():
    """Wait until the GPU is done, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_mib():
    """Return the most memory on the GPU since the last call, in MiB; None: no GPU."""
    if not torch.cuda.is_available():
        return None
    peak = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.reset_peak_memory_stats()
    return round(peak)


class Clock:
    """Is told of the end of every step, and measures some of them.

    The first `n_warm` are not counted. Of the `n_steps` after them, seconds and memory;
    of the next one how often it waited for the GPU; of the next its attention kernels.
    The GPU is waited for before and after the counted steps, not between them.
    """

    def __init__(self, n_warm, n_steps):
        self.n_warm = n_warm
        self.n_steps = n_steps
        self.n_done = 0
        self.n_texts = 0
        self.found = {}
        peak_mib()  # counts from here on

    def __deepcopy__(self, memo):
        """Stay one: estimators copy their callbacks."""
        return self

    @property
    def n_needed(self):
        """How many steps it takes."""
        return self.n_warm + self.n_steps + 2

    def tick(self, n_texts):
        """Count a step that has ended."""
        self.n_done += 1
        n_counted = self.n_done - self.n_warm
        if n_counted == 0:
            synchronize()
            self.found["peak_before_mib"] = peak_mib()
            self.start = time.perf_counter()
        elif 0 < n_counted <= self.n_steps:
            self.n_texts += n_texts
            if n_counted == self.n_steps:
                self.stop()
        elif n_counted == self.n_steps + 1:
            self.found |= self.waits.end()
            self.profiler = profile(activities=[ProfilerActivity.CPU]).__enter__()
        elif n_counted == self.n_steps + 2:
            self.profiler.__exit__(None, None, None)
            self.found["kernels"] = kernels(self.profiler)

    def stop(self):
        """End the counted steps."""
        synchronize()
        seconds = time.perf_counter() - self.start
        self.found["seconds_a_text"] = seconds / self.n_texts
        self.found["step_peak_mib"] = peak_mib()
        self.waits = Waits()

    def outcome(self, batch_size):
        """Return what was found, for steps of so many texts."""
        if self.n_done < self.n_needed:
            raise RuntimeError(f"{self.n_done} of {self.n_needed} steps were made.")
        found = dict(self.found)
        seconds = found.pop("seconds_a_text") * batch_size
        return {"seconds_a_step": seconds} | found


class Waits:
    """The times that the host has waited for the GPU, and where, until `end`."""

    def __init__(self):
        self.has_gpu = torch.cuda.is_available()
        if self.has_gpu:
            torch.cuda.set_sync_debug_mode("warn")
        self.block = warnings.catch_warnings(record=True)
        self.caught = self.block.__enter__()
        warnings.simplefilter("always")

    def end(self):
        """Return how many there were, and the lines of code."""
        self.block.__exit__(None, None, None)
        if not self.has_gpu:
            return {"n_waits": None, "waits": []}
        torch.cuda.set_sync_debug_mode("default")
        places = [
            f"{each.filename.rpartition('site-packages/')[2]}:{each.lineno}"
            for each in self.caught
            if _WAITS in str(each.message)
        ]
        return {"n_waits": len(places), "waits": sorted(places)}


def kernels(profiler):
    """Return how often each of torch's attention kernels ran forward."""
    counts = {}
    for event in profiler.key_averages():
        if event.key.startswith(_ATTENTION) and not event.key.endswith("_backward"):
            name = event.key.removeprefix(_ATTENTION).removesuffix("_attention")
            counts[name.replace("attention_", "")] = event.count
    return counts
