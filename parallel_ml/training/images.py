"""Image files: finding them by class folder, checking that each can be read, and turning one into an array.

PNG, JPEG, GIF (its first frame) and BMP, known by their content; any size and mode.
"""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from parallel_ml.training.failures import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMATS = ("PNG", "JPEG", "GIF", "BMP")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib"})
_OTHER_SUFFIXES = frozenset({".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".pgm", ".tga"})
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})
_CHUNK = 256


@dataclass(frozen=True)
class ImageFile:
    """A file that can be read to its last pixel.

    Attributes:
        name: `class/file`, relative to the image folder, with `/`.
        label: The position of its class.
        height: Pixels, as it is meant to be seen (EXIF orientation).
        width: The same.
        grey: It shows no colour.
    """

    path: Path
    name: str
    label: int
    height: int
    width: int
    grey: bool


@dataclass(frozen=True)
class SkippedFile:
    """A file that looks like an image and cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class ImageFolder:
    """What an image folder holds.

    Attributes:
        classes: Names of the class folders, sorted.
        files: The images in the order of their names.
        skipped: What was left out, in the order of the names.
        ignored_folders: Folders without any image; they are no classes.
    """

    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    skipped: tuple[SkippedFile, ...]
    ignored_folders: tuple[str, ...]


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings about odd files out of the log; what cannot be read is named by us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_folder(root: Path, workers: int, check: Callable[[], None] = lambda: None) -> ImageFolder:
    """Find the images below `root`, one folder per class, and decode each once; no pixels are kept.

    Args:
        root: The image folder.
        workers: Threads that decode.
        check: Called every few hundred files; what it raises ends the work.

    Raises:
        TrainingError: There are fewer than two classes, or a class has no image that can be read.
    """
    found = _find(root)
    classes = tuple(name for name, paths in found.items() if paths)
    if len(classes) < 2:
        seen = f"images are in {classes[0]} alone" if classes else "no folder in it has images"
        raise TrainingError(f"{root}: needs at least two folders with images, one per class, but {seen}")
    images: list[ImageFile] = []
    skipped: list[SkippedFile] = []
    with quiet_pillow(), ThreadPoolExecutor(workers) as pool:
        for label, name in enumerate(classes):
            usable, broken = _inspect_all(found[name], root, label, pool, check)
            if not usable:
                raise TrainingError(f"{root / name}: none of its {len(broken)} images can be read: {broken[0].reason}")
            images += usable
            skipped += broken
    return ImageFolder(
        classes, tuple(images), tuple(skipped), tuple(name for name, paths in found.items() if not paths)
    )


def inspect(path: Path, root: Path, label: int) -> ImageFile | SkippedFile:
    """Decode one file to its last pixel and return what it is, or why it cannot be used."""
    name = path.relative_to(root).as_posix()
    if path.suffix.lower() in _OTHER_SUFFIXES and not _has_known_content(path):
        return SkippedFile(name, f"{path.suffix} is not among {', '.join(FORMATS)}")
    try:
        with _open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return ImageFile(path, name, label, upright.height, upright.width, is_grey(upright))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a broken file makes Pillow raise nearly anything, and others go on
        return SkippedFile(name, _reason(error))


def decode(path: Path, height: int, width: int, channels: int) -> np.ndarray:
    """Return one image as uint8 (height, width, channels); what is transparent becomes white."""
    with _open(path) as image:
        image.draft(None, (width, height))  # lets the JPEG decoder leave out detail that is not needed
        image.load()
        plain = _flatten(ImageOps.exif_transpose(image), "L" if channels == 1 else "RGB")
        if plain.size != (width, height):
            plain = plain.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(plain, dtype=np.uint8).reshape(height, width, channels)


def is_grey(image: Image.Image) -> bool:
    """Return whether an image shows no colour, whatever its mode."""
    if image.mode in _GREY_MODES or image.mode.startswith("I;16"):
        return True
    pixels = np.asarray(_flatten(image, "RGB"))
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Return the image as `L` or `RGB` with 8 bits, transparency laid over white."""
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(wide, 0, 65535) >> 8).astype(np.uint8))
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        image = Image.alpha_composite(white, colours)
    return image.convert(mode)


def _open(path: Path) -> Image.Image:
    return Image.open(path, formats=FORMATS)


def _find(root: Path) -> dict[str, list[Path]]:
    """Return the image files of each folder in `root`, both sorted by name."""
    try:
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise TrainingError(f"{root}: the image folder cannot be read: {error.strerror}") from error
    return {name: sorted(_candidates(root / name)) for name in folders}


def _inspect_all(
    paths: list[Path], root: Path, label: int, pool: ThreadPoolExecutor, check: Callable[[], None]
) -> tuple[list[ImageFile], list[SkippedFile]]:
    images: list[ImageFile] = []
    skipped: list[SkippedFile] = []
    for begin in range(0, len(paths), _CHUNK):
        check()
        for seen in pool.map(lambda path: inspect(path, root, label), paths[begin : begin + _CHUNK]):
            if isinstance(seen, ImageFile):
                images.append(seen)
            else:
                skipped.append(seen)
    return images, skipped


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield the files of a class, also from folders inside it, that are images by their name or their content."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            suffix = path.suffix.lower()
            if name.startswith("."):
                continue
            if suffix in _SUFFIXES or suffix in _OTHER_SUFFIXES or _has_known_content(path):
                yield path


def _has_known_content(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(_MAGIC)
    except OSError:
        return False


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    return "is no image, or a broken one" if "cannot identify" in text else text or type(error).__name__
