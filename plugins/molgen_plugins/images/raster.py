"""What an image is: an array of 8-bit pixels, or the bytes of a file that holds one.

Letters in shapes: H rows, W columns. A greyscale image is uint8 (H, W), a colour image uint8 (H, W, 3) in
the order red, green, blue; 0 is black. Colour profiles and gamma are not applied.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from molgen.domain import Invalid, Item
from molgen_plugins.media.containers import FILE_LIMIT

#: The formats of files that are decoded: each further one is more code that hostile files can reach.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP")
#: Pixels of an image beyond which it is refused, before anything is decoded.
PIXEL_LIMIT = 1 << 24
#: Phones keep second pictures behind the first one of a JPEG file, which readers ignore.
_WITH_FRAMES = ("PNG", "GIF", "WEBP")
_GREY, _PALETTE, _COLOUR = ("1", "L", "LA"), ("P", "PA"), ("RGB", "RGBA")
_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
#: Weights of red, green and blue in brightness (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def canonical(item: Item) -> np.ndarray | Invalid:
    """An image as a contiguous uint8 array, (H, W) or (H, W, 3), or why it is none. Never raises on bad data.

    The bytes of a file are decoded, black-and-white pictures (bool) become 0 and 255, (H, W, 1) becomes (H, W).
    """
    if isinstance(item, bytes):
        return decoded(item)
    if not isinstance(item, np.ndarray):
        return Invalid(f"an image is an array of pixels or the bytes of a file, not {type(item).__name__}")
    if item.dtype not in (np.uint8, np.bool_):
        return Invalid(f"pixels are whole numbers from 0 to 255 (uint8), not {item.dtype}")
    if item.ndim not in (2, 3) or item.shape[2:] not in ((), (1,), (3,)):
        return Invalid(f"an image has the shape (height, width) or (height, width, 3), not {item.shape}")
    if not item.size:
        return Invalid(f"an image of the shape {item.shape} has no pixels")
    if (problem := _too_large(item.shape[1], item.shape[0])) is not None:
        return problem
    pixels = item.astype(np.uint8) * 255 if item.dtype == np.bool_ else item
    return np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)


def key(image: np.ndarray) -> str:
    """A hash of the shape and the pixels of a canonical image, with the shape in front for people to read."""
    shape = "x".join(map(str, image.shape))
    return f"{shape}-{hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest()}"


def brightness(image: np.ndarray) -> np.ndarray:
    """The luma of a canonical image, float64 (H, W) from 0 to 1."""
    pixels = image.astype(np.float64) / 255
    return pixels if image.ndim == 2 else pixels @ np.array(_LUMA)


def encoded(image: np.ndarray) -> bytes:
    """A canonical image as a PNG file, without loss."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def decoded(data: bytes) -> np.ndarray | Invalid:
    """The picture in the bytes of a file, turned as its EXIF orientation says, or why there is none.

    What 8 bits of grey or of red, green and blue cannot say is refused and not converted: deeper
    pixels, inks, transparency, animation. A palette of greys makes a greyscale image, another one a colour image.
    """
    if not data:
        return Invalid("the file is empty")
    if len(data) > FILE_LIMIT:
        return Invalid(f"the file is larger than {FILE_LIMIT >> 20} MiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a size that is refused here anyway, of odd metadata
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _problem(image, data) or _pixels(image)
    except UnidentifiedImageError:
        return Invalid(f"the file is no image of the formats {', '.join(FORMATS)}")
    except Image.DecompressionBombError:
        return _refused_size()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise a dozen kinds for damaged files
        return Invalid(f"the file is damaged ({error})")


def _problem(image: ImageFile.ImageFile, data: bytes) -> Invalid | None:
    """What the header says that makes a picture unusable; nothing is decoded yet."""
    too_large = _too_large(*image.size)
    if too_large is not None:
        return too_large
    if image.format in _WITH_FRAMES and getattr(image, "is_animated", False):
        return Invalid("the picture is animated: save its frames as files of their own")
    if image.mode in _DEEP or _is_reduced(image, data):
        return Invalid("the picture has more than 8 bits per channel: convert it first")
    if image.mode not in _GREY + _PALETTE + _COLOUR:
        return Invalid(f"the picture is neither greyscale nor RGB but {image.mode}: convert it first")
    return None


def _is_reduced(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether decoding would quietly cut deeper colours down to 8 bits."""
    if image.format == "PNG":
        return data[24:25] > b"\x08"  # the depth in the header, which stands first
    settings: Any = image.tile[0].args if image.format == "PPM" and image.tile else ()
    return isinstance(settings, tuple) and settings[-1:] > (255,)


def _pixels(image: Image.Image) -> np.ndarray | Invalid:
    mode = image.mode
    transparent = image.has_transparency_data
    image.load()
    with suppress(Exception):  # a damaged orientation is none
        ImageOps.exif_transpose(image, in_place=True)
    if transparent:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            return Invalid("the picture has transparent parts: put it on a background first")
    elif mode in _GREY:
        return np.array(image.convert("L"))
    pixels = np.array(image.convert("RGB"))
    return np.ascontiguousarray(pixels[..., 0]) if mode in _GREY or _only_grey(mode, pixels) else pixels


def _only_grey(mode: str, pixels: np.ndarray) -> bool:
    return mode in _PALETTE and bool((pixels == pixels[..., :1]).all())


def _too_large(width: int, height: int) -> Invalid | None:
    return _refused_size(f"{width}x{height}: ") if width * height > PIXEL_LIMIT else None


def _refused_size(size: str = "") -> Invalid:
    return Invalid(f"the image is too large ({size}more than {PIXEL_LIMIT:,} pixels)")
