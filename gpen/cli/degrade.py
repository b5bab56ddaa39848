"""python -m gpen degrade: degrade an image with a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from gpen.cli.parsing import File, Flag, parse
from gpen.degradation.degradation import BLUR_KINDS, PRESETS, Degradation
from gpen.degradation.operators import DOWNSAMPLING
from gpen.images import read_image, write_image

if TYPE_CHECKING:
    BlurKind = str
    Downsampling = str
    PresetName = str
else:
    BlurKind = Literal[BLUR_KINDS]
    Downsampling = Literal[DOWNSAMPLING]
    PresetName = Literal[tuple(sorted(PRESETS))]

PRESET_HELP = f"sample all parameters from a preset with --seed: {', '.join(sorted(PRESETS))}; None: use the options above"


@dataclass(frozen=True)
class Degrade:
    """Degrade an image: blur, downsample by s, noise, JPEG.

    The formula of the degradation is printed.
    """

    image: Annotated[Positional[Path], arg(metavar="IMAGE")]  # image file
    out: File  # output file; .png is lossless
    blur_sigma: Annotated[float | None, arg(metavar="PX")] = None  # standard deviation of the blur in px, 0 to 200; None: no blur
    blur_kind: BlurKind = "isotropic"  # blur kernel
    # standard deviation along the second axis of an anisotropic kernel in px, 0 to 200; None: that of the first axis
    blur_sigma_y: Annotated[float | None, arg(metavar="PX")] = None
    # angle of an anisotropic or motion blur in degrees anticlockwise, -360 to 360
    blur_angle: Annotated[float, arg(metavar="DEGREES")] = 0.0
    scale: Annotated[float | None, arg(metavar="S")] = None  # downsampling factor, 0.01 to 10000; None: no downsampling
    downsampling: Downsampling = "bilinear"  # operator of --scale; bilinear is not antialiased, bicubic is
    # standard deviation of the noise in grey levels, 0 to 255; None: no noise
    noise_sigma: Annotated[float | None, arg(metavar="SIGMA")] = None
    jpeg_quality: Annotated[int | None, arg(metavar="Q")] = None  # JPEG quality, 1 to 100; None: no JPEG
    preset: Annotated[PresetName | None, arg(metavar="NAME", help=PRESET_HELP)] = None
    seed: int = 0  # seed of the noise and of --preset, 0 to 2**53 - 1
    resized: Flag = False  # resize the result to the size of the input

    def run(self) -> None:
        """Write the degraded image and print the formula."""
        image = read_image(self.image)
        if self.preset:
            degradation = Degradation.sample(self.preset, seed=self.seed, size=max(image.shape[:2]))
        else:
            names = (
                "blur_sigma", "blur_kind", "blur_sigma_y", "blur_angle", "scale", "downsampling", "noise_sigma", "jpeg_quality",
                "seed",
            )  # fmt: skip
            degradation = Degradation(**{name: getattr(self, name) for name in names})
        write_image(self.out, degradation.resized(image) if self.resized else degradation(image))
        print(degradation.formula())


def main(args: list[str]) -> None:
    """Run `gpen degrade` with these arguments."""
    parse(Degrade, args, "gpen degrade").run()
