"""Image files, resizing, cropping, and conversion between uint8 arrays and tensors; atomic writing of any file.

Images are uint8 RGB [h, w, 3] unless noted otherwise; tensors are float32 [3, h, w] in [-1, 1].
"""

from gpen.images.pixels import (
    add_8_bit_change,
    downscale,
    resize_to,
    square_crop,
    swap_red_and_blue,
    to_8_bits,
    to_image,
    to_tensor,
)
from gpen.images.reading import (
    FORMATS,
    MAX_FILE_PIXELS,
    MPO,
    ReadableFile,
    decode,
    decode_16_bits,
    decoding,
    image_size,
    read_bytes,
    read_image,
    register_heif,
    to_rgb,
    to_srgb,
    upright,
)
from gpen.images.writing import (
    encode,
    move_durably,
    replace_atomically,
    write_atomically,
    write_image,
)

__all__ = [
    "FORMATS",
    "MAX_FILE_PIXELS",
    "MPO",
    "ReadableFile",
    "add_8_bit_change",
    "decode",
    "decode_16_bits",
    "decoding",
    "downscale",
    "encode",
    "image_size",
    "move_durably",
    "read_bytes",
    "read_image",
    "register_heif",
    "replace_atomically",
    "resize_to",
    "square_crop",
    "swap_red_and_blue",
    "to_8_bits",
    "to_image",
    "to_rgb",
    "to_srgb",
    "to_tensor",
    "upright",
    "write_atomically",
    "write_image",
]
