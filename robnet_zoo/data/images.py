"""One picture: a file, a PIL image or an array, made into a network's input."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.extras import import_extra

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP")  # none that runs another program
MEGAPIXELS = 64
LUMA = (0.299, 0.587, 0.114)  # grey of red, green and blue (ITU-R BT.601), as in Pillow
WIDE = 257  # levels of 16 bits to one of 8
ALLOWED = f"give a file of {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L")  # Pillow's names for more than 8 bits


def read_picture(path: Path) -> np.ndarray:
    """Read an image file as uint8 (H, W) or (H, W, 3), upright; of an animation the first frame.

    Raises:
        ZooError: there is no such file, it is no image or a damaged one, it has more than
            `MEGAPIXELS`, or Pillow is not installed.
    """
    pillow = _pillow()
    if not path.is_file():
        raise ZooError(f"There is no file '{path}'; name an image, such as cat.png.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are limited here, and of metadata
            with pillow.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > MEGAPIXELS * 1e6:
                    raise _too_large(path, f"{width}x{height} pixels")
                return _array(image)
    except ZooError:
        raise
    except pillow.DecompressionBombError as error:
        raise _too_large(path, "hundreds of megapixels") from error
    except pillow.UnidentifiedImageError as error:
        raise ZooError(f"'{path}' is no image; {ALLOWED}.") from error
    except Exception as error:  # decoders of damaged files raise errors of every kind
        reason = getattr(error, "strerror", None) or "the image is damaged"
        raise ZooError(f"Cannot read '{path}': {reason}; {ALLOWED}.") from error


def fit(picture: Any, side: int, channels: int, crop: float = 1.0) -> Tensor:
    """Return the centre of a picture as floats (channels, side, side) in [0,1].

    A picture that has the size already keeps its pixels. Others are interpolated (bilinear,
    antialiased). Colour becomes grey by its luma, and grey fills all three channels.

    Args:
        picture: a PIL image; or an array (H, W) or (H, W, 1 or 3) of uint8, or of floats in [0,1].
        side: height and width of the result in pixels.
        channels: 1 or 3.
        crop: the part of the picture's shorter side that is kept.

    Raises:
        ZooError: something else, or channels that pictures do not have.
    """
    if channels not in (1, len(LUMA)):
        raise ZooError(f"A picture has 1 or 3 channels, and the network takes {channels}.")
    array = picture if isinstance(picture, np.ndarray) else _array(_validated(picture))
    pixels = _tensor(array)
    height, width = pixels.shape[1:]
    kept = max(1, round(crop * min(height, width)))
    top, left = (height - kept) // 2, (width - kept) // 2
    pixels = pixels[:, top : top + kept, left : left + kept]
    if kept != side:
        size = (side, side)
        pixels = F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]
    floats = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
    if channels < len(floats):
        floats = torch.tensordot(torch.tensor([LUMA]), floats, 1)
    return floats.expand(channels, -1, -1).clamp(0, 1)


def _pillow() -> Any:
    return import_extra("PIL.Image", "Reading pictures", "eval")


def _validated(picture: Any) -> Any:
    if not isinstance(picture, _pillow().Image):
        raise ZooError(
            f"A {type(picture).__name__} is no picture; give a PIL image, or an array (H, W) or "
            "(H, W, C) of uint8 or of floats in [0,1]."
        )
    return picture


def _array(image: Any) -> np.ndarray:
    """Return a PIL image as uint8 (H, W) or (H, W, 3), what is transparent in white."""
    upright = import_extra("PIL.ImageOps", "Reading pictures", "eval").exif_transpose(image)
    if upright.mode in DEEP_MODES:
        levels = np.asarray(upright).astype(np.int64)
        return np.rint(levels.clip(0, 255 * WIDE) / WIDE).astype(np.uint8)
    if upright.mode not in MODES:
        raise ZooError(f"Pixels of mode '{upright.mode}' have no fixed colours; convert it to RGB.")
    if "A" in upright.getbands() or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        white = _pillow().new("RGBA", upright.size, "white")
        upright = _pillow().alpha_composite(white, upright)
    grey = upright.mode in ("1", "L")
    return np.asarray(upright.convert("L" if grey else "RGB"))


def _tensor(array: np.ndarray) -> Tensor:
    """Return an array of pixels as a tensor (1 or 3, H, W), uint8 or floats in [0,1]."""
    planes = array[..., None] if array.ndim == 2 else array
    if planes.ndim != 3 or planes.shape[2] not in (1, len(LUMA)) or not planes.size:
        raise ZooError(f"An array of shape {array.shape} is no picture; give (H, W) or (H, W, 3).")
    if array.dtype != np.uint8:
        floats = array.dtype.kind == "f"
        if not floats or not (array.min() >= 0 and array.max() <= 1):  # NaN is neither
            raise ZooError(
                f"An array of {array.dtype} must hold floats in [0,1]; give these, or uint8."
            )
        planes = planes.astype(np.float32)
    return torch.from_numpy(np.array(planes.transpose(2, 0, 1), order="C"))


def _too_large(path: Path, size: str) -> ZooError:
    return ZooError(
        f"'{path}' is too large ({size}); the limit is {MEGAPIXELS} megapixels, so make it smaller."
    )
