"""Image decoding: the bytes of a file -> an array of bytes (C, H, W). The bytes are treated as untrusted."""

import warnings
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

from ssl_cli.data.io.content import content_kind
from ssl_cli.errors import InputError

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
SUFFIXES = (".png", *JPEG, ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pbm", ".pgm", ".ppm")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # Pillow's names of these
MAX_PIXELS = 1 << 26  # of an image as stored in its file: 67 megapixels
MAX_FILE_BYTES = 1 << 28
MODES = {1: "L", 3: "RGB"}  # by the number of channels
WHITE = (255, 255, 255, 255)

# A header may claim more pixels than memory holds: `decode_image` rejects it, so Pillow need not warn.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def decode_image(content: bytes, shape: list[int], stretch: bool = True) -> np.ndarray:
    """Return an image as (C, H, W) uint8 of a given shape: grey or RGB, stretched to the size.

    It is rotated according to its EXIF data, and transparency becomes white. With stretch=False, an image of another
    size is rejected. Of several frames or pages the first is taken. Raises InputError, with the reason alone, if the
    bytes are not a valid image in one of FORMATS.
    """
    channels, height, width = shape
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"it has {image.width:,} x {image.height:,} pixels, more than {MAX_PIXELS:,}")
            if not stretch and image.size != (width, height):
                raise InputError(f"it has {image.height} x {image.width} pixels, not {height} x {width}")
            image.draft(None, (2 * max(height, width),) * 2)  # a JPEG is decoded at about the size that is needed
            plain = _opaque(ImageOps.exif_transpose(image)).convert(MODES[channels])
            pixels = np.asarray(plain.resize((width, height), Image.Resampling.BICUBIC))  # (H, W) or (H, W, C)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"it has more than {MAX_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        kind = content_kind(content)
        reason = f"it is {kind}, not a picture that can be read" if kind else "it is not a picture"
        raise InputError(f"{reason}: {', '.join(FORMATS)}") from error
    except Exception as error:  # Pillow raises many types for a damaged file
        raise InputError(f"it is damaged: {str(error) or type(error).__name__}") from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _opaque(image: Image.Image) -> Image.Image:
    """Return an image with 8 bits per channel and without transparency."""
    if image.mode == "F":
        raise InputError("its pixels are floating-point numbers, whose range is unknown")
    if image.mode.startswith("I"):  # 16 bits of grey
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
