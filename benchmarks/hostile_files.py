"""Break one or two files of a backbone's directory, as a stranger could."""

import copy
import json
import os
import shutil
import struct

from hostile_models import make_gguf
from hostile_values import (
    CONFIG,
    DEEP,
    GGUF,
    ODD,
    PATHS,
    TOKENIZER,
    TOKENIZER_CONFIG,
)
from saving import broken_bytes, places_of

ADDED = {
    "config.json": CONFIG,
    "tokenizer_config.json": TOKENIZER_CONFIG,
    "tokenizer.json": TOKENIZER,
}
# Files that a stranger may put beside the others.
NEW_FILES = {
    "adapter_config.json": (
        {"base_model_name_or_path": "{outside}", "peft_type": "LORA"},
        {"base_model_name_or_path": "someone/else"},
        {},
    ),
    "generation_config.json": ({"max_length": "x"}, {"_from_model_config": True}, []),
    "added_tokens.json": ({"film": 10**12}, {"film": "x"}, {"": -1}, []),
    "special_tokens_map.json": (
        {"pad_token": {"content": "a", "evil": 1}},
        {"extra_special_tokens": 3},
        [],
    ),
    "quantize_config.json": ({"bits": 4},),
    "preprocessor_config.json": ({"auto_map": {"AutoProcessor": "evil.C"}},),
    "processor_config.json": ({"processor_class": "evil"},),
    "model.safetensors.index.json": tuple(
        {"weight_map": {"embeddings.word_embeddings.weight": path}}
        for path in (*PATHS, "model.safetensors", "pytorch_model.bin", None, 3)
    ),
    "adapter_model.safetensors.index.json": ({"weight_map": {}},),
    "tekken.json": ({"config": {}, "vocab": []}, []),
    "chat_template.json": ({"chat_template": "{{ x }}"},),
}


def filled(value, outside):
    """Return a value in which `{outside}` is the directory that must not be read."""
    if isinstance(value, str):
        return value.replace("{outside}", str(outside))
    if isinstance(value, list | tuple):
        return [filled(each, outside) for each in value]
    if isinstance(value, dict):
        return {key: filled(each, outside) for key, each in value.items()}
    return value


def refuse_others(file):
    """Keep from opening what another change has put in a file's place."""
    if os.path.lexists(file) and file not in files_of(file.parent):
        raise OSError(f"{file.name} is no file by now")


def write_json(file, value):
    refuse_others(file)
    text = json.dumps(value)
    text = text.replace(json.dumps(DEEP), "[" * 5000 + "]" * 5000)
    file.write_text(text)


def files_of(folder, suffix=""):
    """Return the files that are still of a usual kind and size."""
    return [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and not file.is_symlink()
        and file.name.endswith(suffix)
        and file.stat().st_size < 1 << 20
    ]


def change_bytes(folder, rng, outside):
    """Change, remove or double bytes."""
    file = rng.choice(files_of(folder))
    content = file.read_bytes()
    if content:
        file.write_bytes(broken_bytes(content, rng))
    return file.name


def cut(folder, rng, outside):
    """Cut a file short."""
    file = rng.choice(files_of(folder))
    content = file.read_bytes()
    file.write_bytes(content[: rng.choice((0, 1, 8, len(content) // 2, -1))])
    return file.name


def read_json(file):
    refuse_others(file)
    try:
        return json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError):  # another change has broken it
        return {}


def change_value(folder, rng, outside):
    """Change or remove a value of a JSON file."""
    file = rng.choice(files_of(folder, ".json") or [folder / "config.json"])
    values = read_json(file) if file.exists() else {}
    places = places_of(values)
    if not places:
        return f"{file.name} has no values"
    top = [place for place in places if len(place) <= 2]
    *path, last = rng.choice(top if rng.random() < 0.5 else places)
    holder = values
    for key in path:
        holder = holder[key]
    if rng.random() < 0.15:
        del holder[last]
        value = "nothing"
    else:
        value = holder[last] = filled(rng.choice(ODD), outside)
    write_json(file, values)
    return f"{file.name}: {[*path, last]} = {value!r:.80}"


def add_value(folder, rng, outside):
    """Put a value into a JSON file that could be harmful there."""
    name = rng.choice((*ADDED, "tokenizer.json"))
    file = folder / name
    values = read_json(file) if file.exists() else {}
    key = rng.choice([*ADDED[name]])
    value = filled(copy.deepcopy(rng.choice(ADDED[name][key])), outside)
    if isinstance(values, dict):
        values[key] = value
        write_json(file, values)
    return f"{name}: {key} = {value!r:.80}"


def add_file(folder, rng, outside):
    """Put a file beside the others."""
    name = rng.choice([*NEW_FILES])
    value = filled(rng.choice(NEW_FILES[name]), outside)
    write_json(folder / name, value)
    return f"{name} = {value!r:.80}"


def add_code(folder, rng, outside):
    """Put code or pickles beside the others, perhaps without the weights."""
    payloads = outside.parent / "payloads"
    shutil.copy(payloads / "evil.py", folder / rng.choice(("evil.py", "__init__.py")))
    name = rng.choice(("pytorch_model.bin", "adapter_model.bin", "model.pt"))
    shutil.copy(payloads / "pytorch_model.bin", folder / name)
    config = folder / "config.json"
    if config.exists() and rng.random() < 0.5:
        values = read_json(config)
        if isinstance(values, dict):
            values["auto_map"] = filled(rng.choice(CONFIG["auto_map"]), outside)
            values["model_type"] = rng.choice(("evil", "bert"))
            write_json(config, values)
    if rng.random() < 0.5:
        for file in folder.glob("*.safetensors"):
            file.unlink()
    return f"evil.py and {name}"


def put_other_kind(folder, rng, outside):
    """Put a link, a pipe, a directory or an endless file in a file's place."""
    file = rng.choice(sorted(folder.iterdir()))
    kind = rng.choice(("link", "zero", "loop", "pipe", "folder", "huge", "gone"))
    if file.is_dir():
        shutil.rmtree(file)
    elif kind != "huge" or file not in files_of(folder):
        file.unlink()
    if kind == "link":
        target = outside / file.name
        file.symlink_to(target if target.exists() else outside / "secret.txt")
    elif kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "loop":
        file.symlink_to(file.name)
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "huge":
        with file.open("ab") as opened:
            opened.truncate(1 << 28)  # zeros take no room on the disk
    return f"{file.name} is a {kind}"


def swap(folder, rng, outside):
    """Swap two files."""
    files = sorted(folder.iterdir())
    one, two = rng.choice(files), rng.choice(files)
    if one == two:
        return "nothing"
    between = folder / "between"
    one.rename(between)
    two.rename(one)
    between.rename(two)
    return f"{one.name} and {two.name}"


def change_header(folder, rng, outside):
    """Change a value in the header of a safetensors file."""
    files = files_of(folder, ".safetensors")
    if not files:
        return "no weights"
    file = rng.choice(files)
    content = file.read_bytes()
    if len(content) < 8:
        return "no header"
    (size,) = struct.unpack("<Q", content[:8])
    try:
        header = json.loads(content[8 : 8 + size])
        places = places_of(header)
        *path, last = rng.choice(places)
        holder = header
        for key in path:
            holder = holder[key]
        values = (*ODD, "F64", "BF16", "I8", "F8_E4M3", [0, 10**12], [0, 0], [32])
        value = holder[last] = filled(rng.choice(values), outside)
    except (ValueError, RecursionError, IndexError, TypeError, KeyError):
        return "a header that is no JSON"
    text = json.dumps(header).encode()
    size = len(text) if rng.random() < 0.9 else rng.choice((0, 10**6, 2**63, 2**64 - 1))
    file.write_bytes(struct.pack("<Q", size) + text + content[8 + size :])
    return f"{file.name}: {[*path, last]} = {value!r:.80}"


def change_gguf(folder, rng, outside):
    """Write a GGUF file with another value in its header."""
    if not files_of(folder, ".gguf"):
        return add_value(folder, rng, outside)
    key = rng.choice([*GGUF])
    value = rng.choice(GGUF[key])
    make_gguf(folder, [(key, value)])
    return f"{key} = {value!r:.80}"


WAYS = {
    change_bytes: 3,
    cut: 1,
    change_value: 6,
    add_value: 8,
    add_file: 2,
    add_code: 1,
    put_other_kind: 3,
    swap: 1,
    change_header: 2,
    change_gguf: 1,
}


def break_files(folder, rng, outside):
    """Change a directory in one or two ways; return them in words."""
    is_gguf = bool(files_of(folder, ".gguf"))
    ways = {change_bytes: 3, cut: 1, put_other_kind: 1, change_gguf: 6}
    ways = ways if is_gguf else WAYS
    chosen = rng.choices([*ways], [*ways.values()], k=rng.choice((1, 1, 1, 2)))
    done = []
    for way in chosen:
        try:
            done.append(f"{way.__name__}: {way(folder, rng, outside)}")
        except (OSError, IndexError) as exc:  # what was there is a pipe by now, or gone
            done.append(f"{way.__name__}: {exc!r:.80}")
    return "; ".join(done)
