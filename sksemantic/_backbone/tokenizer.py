"""What a backbone's tokenizer makes of texts, and puts around them."""

from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from transformers import PreTrainedTokenizerBase

from sksemantic._backbone.foreign_errors import refuse_foreign_errors
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sksemantic._backbone.source import BackboneSource

_LINE_END = "\n"
_MOST_SPECIAL_TOKENS = 1000
refuse_tokenizer_errors = refuse_foreign_errors(
    "The tokenizer of this backbone fails on a text", ". Use another `model`."
)


class PairTokens(NamedTuple):
    """How the tokenizer puts two texts into one row."""

    left: list[int]
    middle: list[int]
    right: list[int]
    has_types: bool  # whether the tokens of the second text are of another type
    n_first: int  # how many tokens in the middle are of the first text's type


@refuse_tokenizer_errors
def find_special_tokens(
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[list[int], list[int]]:
    """Return the ids put to the left and right of a text, read off an example."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = range(min(len(full) - len(plain), _MOST_SPECIAL_TOKENS) + 1)
    found = (i for i in starts if full[i : i + len(plain)] == plain)
    start = next(found, None)
    if start is None or len(full) - len(plain) > _MOST_SPECIAL_TOKENS:
        raise UnsupportedBackboneError(
            f"The tokenizer of this backbone must put at most {_MOST_SPECIAL_TOKENS} "
            f"tokens around those of a text. Of 'a' it makes {plain!r:.60}, and with "
            f"special tokens {full!r:.60}. Use another `model`."
        )
    return full[:start], full[start + len(plain) :]


@refuse_tokenizer_errors
def find_pair_tokens(
    tokenizer: PreTrainedTokenizerBase, model: "PreTrainedModel"
) -> PairTokens | None:
    """Return how the tokenizer joins two texts, read off an example."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    encoded = tokenizer("a", "a", return_token_type_ids=True)
    ids, types = encoded["input_ids"], encoded["token_type_ids"]
    n = len(plain)
    starts = [i for i in range(len(ids) - n + 1) if ids[i : i + n] == plain]
    if len(starts) != 2 or starts[1] == starts[0] + n:
        return None  # nothing would separate the texts
    first, second = starts
    takes_types = "token_type_ids" in signature(model.forward).parameters
    takes_types &= getattr(model.config, "type_vocab_size", 2) > 1
    return PairTokens(
        left=ids[:first],
        middle=ids[first + n : second],
        right=ids[second + n :],
        has_types=takes_types and types[second] == 1 and types[first] == 0,
        n_first=types[first + n : second].count(0),
    )


def find_start_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return an id that can stand where a sequence must not be empty."""
    names = ("bos_token_id", "cls_token_id", "eos_token_id", "pad_token_id")
    ids = [getattr(tokenizer, name, None) for name in names]
    return next((i for i in ids if i is not None), None)


@refuse_tokenizer_errors
def adds_leading_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer puts a space before every text (SentencePiece)."""
    tokens = tokenizer.tokenize("a")
    return bool(tokens) and tokens[0].startswith("▁")


@refuse_tokenizer_errors
def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Return the token ids of texts, without special tokens."""
    if not texts:
        return []
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return encoded["input_ids"]


def encode_without_space(
    tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> list[list[int]]:
    """Return the token ids of texts without the space that the tokenizer adds.

    After a line's end it adds none; the tokens of the line's end are removed again.
    """
    (line_end,) = encode(tokenizer, [_LINE_END])
    encoded = encode(tokenizer, [_LINE_END + text for text in texts])
    if all(ids[: len(line_end)] == line_end for ids in encoded):
        return [ids[len(line_end) :] for ids in encoded]
    return encode(tokenizer, texts)


def check_tokenizer_files(
    source: "BackboneSource", tokenizer: PreTrainedTokenizerBase
) -> None:
    """Refuse a tokenizer that was made without its files, or that is none."""
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UnsupportedBackboneError(
            f"The tokenizer of model={source.name!r} ({source.location}) must be one "
            f"of transformers, and is a {type(tokenizer).__name__}: mend the entry "
            "tokenizer_class of its tokenizer_config.json."
        )
    if source.gguf_file is not None:
        return
    names = {*tokenizer.vocab_files_names.values(), "tokenizer.json"}
    if not any((Path(source.location) / name).is_file() for name in names):
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} ({source.location}) come without "
            f"the files of their tokenizer ({', '.join(sorted(names))}). Save it there "
            "with `tokenizer.save_pretrained`."
        )
