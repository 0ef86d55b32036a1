"""From tokenised texts to batches: of similar length, padded within a batch only."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sksemantic._inputs.dataset import Ragged, TextDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._backbone.backbone import BatchLimits


Batch = tuple[dict[str, Tensor], Tensor]


class BucketSampler:
    """Shuffled batches of texts of similar length.

    Every epoch is a new permutation, cut into buckets of `n_bucket_batches` batches.
    Each bucket is sorted by length and cut into batches, and all batches are shuffled.
    """

    def __init__(
        self,
        lengths: "NDArray",
        batch_size: int,
        generator: np.random.RandomState,
        n_bucket_batches: int = 32,
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.generator = generator
        self.n_bucket_batches = n_bucket_batches

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.generator.permutation(len(self.lengths))
        size = self.batch_size * self.n_bucket_batches
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            bucket = order[start : start + size]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            batches += [
                bucket[i : i + self.batch_size].tolist()
                for i in range(0, len(bucket), self.batch_size)
            ]
        for i in self.generator.permutation(len(batches)):
            yield batches[i]


class ClassSampler:
    """Shuffled batches in which every text has others of its class beside it.

    Every epoch the texts of each class are shuffled, cut into groups, and all groups
    are shuffled. A batch has about as many texts of each class as fit, though two at
    least; with more classes than that, another epoch has other classes together.
    """

    def __init__(
        self,
        classes: "NDArray",
        batch_size: int,
        generator: np.random.RandomState,
    ) -> None:
        self.classes = classes
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return -(-len(self.classes) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.generator.permutation(len(self.classes))
        different = np.unique(self.classes)
        size = max(2, self.batch_size // len(different))
        groups = []
        for each in different:
            of_class = order[self.classes[order] == each]
            groups += [of_class[i : i + size] for i in range(0, len(of_class), size)]
        shuffled = [groups[i] for i in self.generator.permutation(len(groups))]
        texts = np.concatenate(shuffled).tolist()
        for start in range(0, len(texts), self.batch_size):
            yield texts[start : start + self.batch_size]


def cut_into_batches(lengths: "NDArray", limits: "BatchLimits") -> list[list[int]]:
    """Cut consecutive texts into batches within the limits; the first text may exceed.

    Of texts in the order of their lengths those of one batch are of about one length.
    """
    batches: list[list[int]] = []
    longest = n_real = 0
    for i, length in enumerate(lengths.tolist()):
        longest, n_real = max(longest, length), n_real + length
        n_tokens = (len(batches[-1]) + 1) * longest if batches else 0
        is_padded = limits.padding is not None and n_tokens - n_real > limits.padding
        if not batches or n_tokens > limits.tokens or is_padded:
            batches.append([])
            longest = n_real = length
        batches[-1].append(i)
    return batches


def train_batches(
    dataset: TextDataset,
    batch_size: int,
    pad_id: int,
    generator: np.random.RandomState,
    *,
    by_class: bool = False,
) -> "Batches":
    """Iterate over shuffled batches of texts of similar length, or of few classes.

    Of a text that has several windows, each epoch reads one, drawn at random.
    """
    sampler: BucketSampler | ClassSampler
    if by_class:
        sampler = ClassSampler(dataset.targets, batch_size, generator)
    else:
        sampler = BucketSampler(dataset.lengths, batch_size, generator)
    return Batches(dataset, sampler, pad_id, generator)


def ordered_batches(
    dataset: TextDataset,
    pad_id: int,
    limits: "BatchLimits",
    batch_size: int | None = None,
) -> "Batches":
    """Iterate over the texts in their order; sort them by length first.

    The limits decide how many texts a batch has. `batch_size`, which skorch passes, is
    ignored.
    """
    return Batches(dataset, cut_into_batches(dataset.lengths, limits), pad_id)


class Batches:
    """Padded batches of a dataset; `rows` has the indices of each batch's texts.

    torch's DataLoader takes longer to start than one text takes to be read.
    """

    def __init__(
        self,
        dataset: TextDataset,
        rows: "list[list[int]] | BucketSampler | ClassSampler",
        pad_id: int,
        generator: np.random.RandomState | None = None,
    ) -> None:
        self.dataset = dataset
        self.rows = rows
        self.pad_id = pad_id
        self.generator = generator  # one window of each text is drawn by it

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Batch]:
        pad = collate(self.pad_id)
        for chosen in self.rows:
            texts = self.dataset.take(np.asarray(chosen))
            if self.generator is not None:
                texts = texts.one_window_each(self.generator)
            yield pad(texts)


def collate(pad_id: int) -> Callable[[Any], Batch]:
    """Return a function that makes padded tensors of a batch."""

    def pad(batch: TextDataset) -> Batch:
        ids, mask = batch.token_ids.padded(pad_id)  # (B, T)
        arrays = {
            "input_ids": ids,
            "attention_mask": mask.astype(np.int64),
            "sample_weight": batch.weights.astype(np.float32),
        }
        if batch.token_ids.second_starts is not None:
            arrays["token_type_ids"] = batch.token_ids.padded_types()
        if batch.word_positions is not None:
            arrays["word_positions"], _ = batch.word_positions.padded(-1)  # (B, S)
        if batch.pair_texts is not None:
            ids, mask = batch.pair_texts.padded(pad_id)  # (2B, T)
            arrays["pair_ids"] = ids.reshape(len(batch), 2, -1)
            arrays["pair_mask"] = mask.astype(np.int64).reshape(len(batch), 2, -1)
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return inputs, torch.from_numpy(batch.targets)

    return pad


def texts_of(batch: dict[str, Tensor]) -> TextDataset:
    """Return the dataset that a padded batch was made of."""
    mask = batch["attention_mask"].bool().cpu()
    ids = batch["input_ids"].cpu()[mask].numpy().astype(np.int32)
    lengths = mask.sum(dim=1).numpy()
    second_starts = words = None
    if "token_type_ids" in batch:
        second_starts = lengths - batch["token_type_ids"].sum(dim=1).cpu().numpy()
    if "word_positions" in batch:
        positions = batch["word_positions"].cpu()  # (B, S), padded with -1
        is_word = positions >= 0
        words = Ragged(positions[is_word].numpy(), is_word.sum(dim=1).numpy())
    return TextDataset(Ragged(ids, lengths, second_starts), word_positions=words)
