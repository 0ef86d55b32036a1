"""`save_pretrained`, `from_pretrained` and `push_to_hub` of the estimators."""

import json
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from huggingface_hub import HfApi
from safetensors.numpy import save

from sksemantic._saving.bundle import copy_backbone
from sksemantic._saving.card import CARD_MARK, model_card
from sksemantic._saving.checks import BrokenFile
from sksemantic._saving.directory import place_of, replace_files, sha256_of
from sksemantic._saving.reading import (
    BACKBONE,
    CARD,
    CONFIG,
    SCHEMA,
    WEIGHTS,
    download,
    find_backbone,
    parameters_from_json,
    read_at_rest,
    read_directory,
    refuse_foreign_files,
)
from sksemantic._saving.state import from_files, to_files
from sksemantic._saving.tasks import check_kind
from sksemantic._saving.values import Unsavable, to_json
from sksemantic._training.build import check_parameters
from sksemantic._version import library_versions
from sksemantic._warnings import user_stacklevel

if TYPE_CHECKING:
    from sksemantic._training.fitted import FittedModel


class Pretrained:
    """Estimators that are saved as models on the Hugging Face hub are."""

    def save_pretrained(
        self, save_directory: "str | Path", *, backbone: bool = False
    ) -> None:
        """Save the fitted estimator in a directory, as a whole or not at all.

        There are ``model.safetensors``, ``config.json`` and a model card,
        ``README.md``. Nothing in them is a pickle. Whatever stops the writing, the
        directory holds the old or the new.

        Parameters
        ----------
        save_directory : str or Path
            Made if there is none; what was saved in it before is replaced.
        backbone : bool, default=False
            Whether to put the backbone's own files beside it, for machines without
            network, hub cache or weights package.

        Raises
        ------
        NotFittedError
        ValueError
            If a label, or a parameter, is of a type that cannot be saved, or there are
            files of the same names that something else has written.
        OSError
            If the disk is full, or does not allow it; what was there before stays.
        """
        model: FittedModel = self._model  # type: ignore[attr-defined]
        source = model.config.model.backbone.source
        try:
            values, tensors = to_files(model)
        except Unsavable as exc:
            raise ValueError(
                f"Labels of this type cannot be saved: {exc}. Only str, numbers, bytes,"
                " dates and decimals can be read again without importing anything. "
                "Fit to such labels, or keep the estimator in a pickle."
            ) from exc
        content = save(tensors, {"format": "np"})
        config = {
            "schema": SCHEMA,
            "class": type(self).__name__,
            "parameters": _parameters_to_json(self),
            "fitted": values,
            "has_backbone": backbone,
            "weights_sha256": sha256_of(content),
            "versions": library_versions(),
        }
        text = json.dumps(config, indent=1, ensure_ascii=False, allow_nan=False)
        if not _is_unicode(text):  # labels with half a character
            text = json.dumps(config, indent=1, allow_nan=False)
        directory = Path(save_directory)
        refuse_foreign_files(directory)
        writers: dict[str, Callable[[Path], object]] = {
            CONFIG: partial(Path.write_text, data=text, encoding="utf-8"),
            WEIGHTS: partial(Path.write_bytes, data=content),
        }
        if _writes_card(directory / CARD):
            card = model_card(type(self).__name__, model, backbone)
            card = card.encode("utf-8", errors="replace").decode("utf-8")
            writers[CARD] = partial(Path.write_text, data=card, encoding="utf-8")
        if backbone:
            writers[BACKBONE] = partial(copy_backbone, source)
        replace_files(directory, writers)
        if not backbone:  # of an estimator that was saved here before
            shutil.rmtree(directory / BACKBONE, ignore_errors=True)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: "str | Path",
        *,
        model: str | None = None,
        device: str | None = None,
        verify_backbone: bool = True,
        revision: str | None = None,
        token: "str | bool | None" = None,
        cache_dir: "str | Path | None" = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load an estimator that `save_pretrained` has written.

        Nothing in the directory is run, and no path that it names is followed. That
        the backbone can be found, and has the same weights, is checked at once.

        Parameters
        ----------
        pretrained_model_name_or_path : str or Path
            A directory, or the id of a model on the hub.
        model : str, default=None
            Where the backbone is now, as the estimator's own parameter. Needed where it
            was a directory or a file.
        device : str, default=None
            In place of the saved parameter.
        verify_backbone : bool, default=True
            Whether the backbone must have the weights that the estimator was fitted on,
            by their fingerprint. With others it is another model.
        revision : str, default=None
            Branch, tag or commit on the hub.
        token : str or bool, default=None
        cache_dir : str or Path, default=None
        local_files_only : bool, default=False
            As in huggingface_hub.

        Returns
        -------
        estimator : object
            Fitted.

        Raises
        ------
        ValueError
            If the files are not as they were written, or the backbone is another one.
        BackboneNotFoundError
            If the backbone cannot be found; it says what to install.
        """
        directory = Path(pretrained_model_name_or_path)
        if not directory.is_dir():
            directory = download(
                str(pretrained_model_name_or_path),
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
            )
        read = partial(
            cls._read, directory, model, device, verify_backbone=verify_backbone
        )
        loaded: Self = read_at_rest(directory, read)
        return loaded

    @classmethod
    def _read(
        cls,
        directory: Path,
        model: str | None,
        device: str | None,
        *,
        verify_backbone: bool,
    ) -> Self:
        try:
            config, tensors = read_directory(directory, cls.__name__)
            estimator = cls(**parameters_from_json(cls, config["parameters"]))
            estimator._validate_params()  # type: ignore[attr-defined]
            check_parameters(estimator.get_params(deep=False), cls.__name__)  # type: ignore[attr-defined]
            if device is not None:
                estimator.device = device  # type: ignore[attr-defined]
            check_kind(cls, config["fitted"])
            fitted = from_files(config["fitted"], tensors)
        except (ValueError, TypeError) as exc:
            raise BrokenFile(
                f"{str(directory)!r} holds no {cls.__name__} that this version of "
                f"sksemantic can read: {exc}."
            ) from exc
        if model is not None:
            estimator.model = model  # type: ignore[attr-defined]
        has_backbone = config["has_backbone"] and model is None
        bundled = place_of(directory, BACKBONE) if has_backbone else None
        saved = fitted.config.model.backbone.source
        source = find_backbone(saved, model, bundled)
        fitted = fitted.with_source(source, is_other=not verify_backbone)
        fitted.verify_backbone()
        estimator._keep(fitted)  # type: ignore[attr-defined]
        return estimator

    def push_to_hub(
        self,
        repo_id: str,
        *,
        backbone: bool = False,
        commit_message: str = "Upload the fitted estimator",
        private: bool | None = None,
        token: "str | bool | None" = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Upload what `save_pretrained` writes to the hub.

        Parameters
        ----------
        repo_id : str
            Of the model; made if there is none.
        backbone : bool, default=False
            As in `save_pretrained`.
        commit_message : str
        private : bool, default=None
        token : str or bool, default=None
        revision : str, default=None
        create_pr : bool, default=False
            As in huggingface_hub.

        Returns
        -------
        str
            The address of the commit.
        """
        api = HfApi(token=token)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, backbone=backbone)
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            return str(
                api.upload_folder(
                    repo_id=repo_id,
                    folder_path=folder,
                    commit_message=commit_message,
                    revision=revision,
                    create_pr=create_pr,
                )
            )


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _writes_card(file: Path) -> bool:
    """Return whether there is no card yet, or one that nobody has taken over."""
    return not file.exists() or CARD_MARK in file.read_text("utf-8", errors="replace")


def _parameters_to_json(estimator: Any) -> dict[str, Any]:
    """Return the parameters; those that only Python could hold are left out."""
    saved, left_out = {}, []
    for name, value in estimator.get_params(deep=False).items():
        if name == "checkpoint_dir":  # a place on this machine
            continue
        if name == "training" and value:
            value = {key: each for key, each in value.items() if key != "callbacks"}
            left_out += ["training__callbacks"] * ("callbacks" in estimator.training)
        if name == "model_kwargs" and value:
            value = {key: _plain(each) for key, each in value.items()}
        try:
            saved[name] = to_json(value)
        except Unsavable:
            left_out.append(name)
    if left_out:
        warnings.warn(
            f"{', '.join(left_out)} are not saved: they can be kept in a pickle only. "
            "The predictions do not depend on them.",
            UserWarning,
            stacklevel=user_stacklevel(),
        )
    return saved


def _plain(value: Any) -> Any:
    return value.to_dict() if hasattr(value, "to_dict") else value
