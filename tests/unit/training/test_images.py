"""Finding, checking and reading image files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from parallel_ml.training.failures import Released, TrainingError  # noqa: E402 - they need Pillow
from parallel_ml.training.images import ImageFile, SkippedFile, decode, inspect, quiet_pillow, read_folder  # noqa: E402
from parallel_ml.training.shape import Shape, choose_shape  # noqa: E402


def save(path: Path, image: Any, **options: Any) -> Path:
    """Write an image into a folder that is made where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def grey(value: int = 100, size: tuple[int, int] = (8, 8)) -> Any:
    """Return an image of one grey."""
    return Image.new("L", size, value)


def centre(path: Path, channels: int) -> list[int]:
    """Return the pixel in the middle of an image that is read as 8 x 8."""
    with quiet_pillow():
        return [int(value) for value in decode(path, 8, 8, channels)[4, 4]]


def test_classes_are_folders_and_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Folders inside a class belong to it; hidden files, texts and folders without images do not count."""
    for name in ("b/2.png", "b/1.PNG", "a/deeper/1.png", "a/.hidden.png", ".git/1.png"):
        save(tmp_path / name, grey())
    (tmp_path / "a" / "notes.txt").write_text("about the images")
    (tmp_path / "empty").mkdir()
    found = read_folder(tmp_path, workers=2)
    assert (found.classes, found.ignored_folders) == (("a", "b"), ("empty",))
    assert [(file.name, file.label) for file in found.files] == [("a/deeper/1.png", 0), ("b/1.PNG", 1), ("b/2.png", 1)]
    assert found.skipped == ()


def test_broken_files_are_skipped_and_named(tmp_path: Path) -> None:
    """Empty, cut off, text in disguise, another format: each is named with a reason, the others are used."""
    whole = save(tmp_path / "a" / "1.png", Image.effect_noise((64, 64), 50)).read_bytes()
    save(tmp_path / "b" / "1.png", grey())
    broken = {"cut.png": whole[: len(whole) // 2], "empty.jpg": b"", "text.gif": b"hello", "other.webp": b"RIFF"}
    for name, content in broken.items():
        (tmp_path / "b" / name).write_bytes(content)
    found = read_folder(tmp_path, workers=2)
    assert [file.name for file in found.files] == ["a/1.png", "b/1.png"]
    assert [file.name for file in found.skipped] == [f"b/{name}" for name in sorted(broken)]
    assert all(file.reason for file in found.skipped)


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    """A PNG that is called .jpg, and one without any suffix, are images."""
    content = io.BytesIO()
    grey().save(content, format="PNG")
    for name in ("a.jpg", "b"):
        (tmp_path / name).write_bytes(content.getvalue())
        assert isinstance(inspect(tmp_path / name, tmp_path, 0), ImageFile)


@pytest.mark.parametrize("folders", [[], ["only"]])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, folders: list[str]) -> None:
    """The error says what was found."""
    for name in folders:
        save(tmp_path / name / "1.png", grey())
    with pytest.raises(TrainingError, match="at least two folders with images"):
        read_folder(tmp_path, workers=1)


def test_a_class_without_a_usable_image_is_refused(tmp_path: Path) -> None:
    """The error names the folder."""
    save(tmp_path / "good" / "1.png", grey())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_bytes(b"no image")
    with pytest.raises(TrainingError, match="bad: none of its 1 images can be read"):
        read_folder(tmp_path, workers=1)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error says which folder."""
    with pytest.raises(TrainingError, match="none: the image folder cannot be read: No such file"):
        read_folder(tmp_path / "none", workers=1)


def test_the_work_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    """A stop request is seen while the files are checked."""
    for name in ("a/1.png", "b/1.png"):
        save(tmp_path / name, grey())

    def stop() -> None:
        raise Released

    with pytest.raises(Released):
        read_folder(tmp_path, workers=1, check=stop)


def test_every_mode_is_read_as_its_colour(tmp_path: Path) -> None:
    """Palette, transparency, CMYK, one bit and sixteen bits: the colour that a person would see."""
    red = Image.new("RGB", (8, 8), (200, 0, 0))
    wide = Image.fromarray(np.full((8, 8), 100 * 257, dtype=np.uint16))
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert centre(save(tmp_path / "palette.gif", red), 3) == [200, 0, 0]
    assert centre(save(tmp_path / "rgba.png", red.convert("RGBA")), 3) == [200, 0, 0]
    assert centre(save(tmp_path / "clear.png", clear), 3) == [255, 255, 255]
    assert centre(save(tmp_path / "wide.png", wide), 1) == [100]
    assert centre(save(tmp_path / "bit.bmp", Image.new("1", (8, 8), 1)), 1) == [255]
    assert centre(save(tmp_path / "grey.bmp", grey(50)), 3) == [50, 50, 50]
    cmyk = centre(save(tmp_path / "print.jpg", red.convert("CMYK"), quality=95), 3)
    assert cmyk == pytest.approx([200, 0, 0], abs=6)


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    """A GIF with two frames is its first."""
    path = save(tmp_path / "two.gif", grey(10), save_all=True, append_images=[grey(200)])
    assert centre(path, 1) == [10]


def test_the_orientation_of_a_camera_is_obeyed(tmp_path: Path) -> None:
    """A photograph that was taken upright is as high as it looks."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "upright.jpg", Image.new("RGB", (40, 20)), exif=exif)
    seen = inspect(path, tmp_path, 0)
    assert isinstance(seen, ImageFile)
    assert (seen.height, seen.width) == (40, 20)


def test_grey_is_seen_in_every_mode(tmp_path: Path) -> None:
    """A colour file that shows no colour is grey; one pixel of colour is colour."""
    colour = grey().convert("RGB")
    grey_path = save(tmp_path / "grey.png", colour)
    colour.putpixel((3, 3), (255, 0, 0))
    paths = {grey_path: True, save(tmp_path / "p.gif", grey()): True, save(tmp_path / "colour.png", colour): False}
    for path, expected in paths.items():
        seen = inspect(path, tmp_path, 0)
        assert not isinstance(seen, SkippedFile)
        assert seen.grey is expected


def file(height: int, width: int, *, is_grey: bool = True) -> ImageFile:
    """Return an image of this size that lies nowhere."""
    return ImageFile(Path(), "", 0, height, width, is_grey)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(8, 8), (10, 30), (12, 16)], (10, 16)),
        ([(1000, 500)], (128, 64)),
        ([(4, 6)], (8, 12)),
        ([(2000, 20)], (128, 8)),
    ],
)
def test_the_size_is_the_median_within_limits(sizes: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    """One size for all: the median, made smaller or larger in its own proportions as far as possible."""
    found = choose_shape([file(*size) for size in sizes], None, (8, 128))
    assert (found.height, found.width) == expected


def test_a_size_and_channels_that_are_given_hold() -> None:
    """What the user sets is not second-guessed; else one colour image among grey ones makes all of them colour."""
    files = [file(10, 10), file(10, 10, is_grey=False)]
    assert choose_shape(files, (300, 200), (8, 128), 1) == Shape(300, 200, 1)
    assert choose_shape(files, None, (8, 128)) == Shape(10, 10, 3)
    assert choose_shape(files[:1], None, (8, 128)) == Shape(10, 10, 1)
