"""The page's functions for programs: /degrade, /sample, /restore, /photo and /score, for gradio_client, HTTP and MCP.

They hold no state: files in, PNG files and JSON out. The page's own events are private; what a visitor does
by hand a program does with these.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import gradio as gr

from demo import experiment, images, photo
from demo.playground import NETWORK, picture_input, told
from eval import metrics
from gpen.degradation import BLUR_KINDS, PRESETS

NO_FILE = "There is no such file here: please upload it first."
WRONG_KIND = (
    "One of the values is of the wrong kind, missing or one too many: files are uploaded first, numbers are plain numbers; "
    "the API page lists what each function takes."
)


def endpoints(restorer) -> None:
    """Add the endpoints to the current gr.Blocks. `restorer` is a gpen.Restorer."""
    size = restorer.net.size

    @told
    def degrade(
        image: str,
        blur_sigma: float = 0,
        blur_kind: str = "isotropic",
        blur_sigma_y: float = 0,
        blur_angle: float = 0,
        kernel_size: float = 0,
        scale: float = 1,
        noise_sigma: float = 0,
        jpeg_quality: float = 0,
        grey: bool = False,
        seed: float = 0,
    ) -> tuple[str, dict]:
        """Degrade a face as GPEN's formula says: blur, downsample, add noise, compress as JPEG.

        The picture is first cropped to its central square and resized to the network's size.

        Args:
            image: a picture of one face, at least 16 by 16 pixels, at most 25 MB and 40 megapixels.
            blur_sigma: standard deviation of the blur kernel in pixels, 0 to 200; 0 is no blur.
            blur_kind: "isotropic", "anisotropic" (both Gaussian) or "motion".
            blur_sigma_y: standard deviation along the second axis of an anisotropic kernel, in pixels.
            blur_angle: direction of the first axis or of the motion, degrees anticlockwise.
            kernel_size: width of the kernel in pixels, odd; 0 is as wide as the sigma asks for.
            scale: how many times smaller the picture becomes, 0.5 and above; 1 keeps its size.
            noise_sigma: standard deviation of the Gaussian noise, in levels of 255; 0 is no noise.
            jpeg_quality: quality of the JPEG compression, 1 to 100; 0 is no compression.
            grey: whether the picture loses its colours.
            seed: a whole number that fixes the noise.

        Returns:
            The degraded picture at its own small size as a PNG file, and the parameters as JSON.
        """
        degradation = experiment.from_numbers(
            blur_sigma,
            blur_kind,
            blur_sigma_y,
            blur_angle,
            kernel_size,
            scale,
            noise_sigma,
            jpeg_quality,
            grey,
            seed,
        )
        return _png(degradation(images.read_face(image, size)), "degraded"), degradation.to_dict()

    @told
    def sample(preset: str, seed: float = 0) -> dict:
        """Draw a random degradation from a published training preset, for images of the network's size.

        Args:
            preset: the preset's name, such as "gpen-release", "gfpgan" or "codeformer-2".
            seed: a whole number; the same seed gives the same parameters.

        Returns:
            The parameters as JSON, as the page downloads and gpen.Degradation.from_dict reads them.
        """
        return experiment.sample(preset, seed, size).to_dict()

    @told
    def restore(image: str) -> str:
        """Restore a degraded face with GPEN.

        The network invents plausible detail: the result is no evidence of what a person looks like.

        Args:
            image: a picture of one aligned face; its central square is resized to the network's size.

        Returns:
            The restored face as a PNG file at the network's size.
        """
        return _png(restorer.face(images.square(images.decode(image))).image, "restored")

    @told
    def restore_photo(image: str, faces: str = "all", strength: float = 1, upscale: float = 1) -> tuple[str, dict]:
        """Find the faces of a whole photo, restore them with GPEN and put them back.

        The network invents plausible detail: the result is no evidence of what a person looks like. A photo without
        a face comes back as it is; give a single aligned face to /restore.

        Args:
            image: a photo, at most 25 MB and 40 megapixels.
            faces: "all", "largest", or numbers such as "1, 3": faces are numbered from 1, the largest first.
            strength: how much of the restoration is blended in; 0 is the photo itself, 1 the network's result.
            upscale: how many times larger the whole photo becomes, 1 to 16, by bicubic interpolation.

        Returns:
            The photo as a PNG file; and as JSON how many faces were found, and number, box, landmarks and score of
            each that was restored, in pixels of the given photo.
        """
        experiment.check_numbers(strength=strength, upscale=upscale)
        found = photo.find_faces(restorer, image)
        chosen = photo.pick(found, faces or "")
        _, after = photo.restored(restorer, found, chosen, strength, upscale)
        return _png(after, "restored"), {"found": len(found.faces), "faces": photo.report(found, chosen)}

    @told
    def score(image: str, original: str) -> dict:
        """Measure how near a picture is to the original: PSNR and SSIM (higher is better), LPIPS (lower is).

        Args:
            image: the picture to judge, such as a restored face.
            original: the picture it should be. Of both the central square is taken, at the network's size.

        Returns:
            For each metric its value and which direction is better, or why it cannot be computed here.
        """
        values = metrics.compare(images.read_face(image, size), images.read_face(original, size), experiment.METRICS)
        return {name: _judged(name, value) for name, value in values.items()}

    with gr.Column(visible=False):
        pictures = [picture_input(label="image"), picture_input(label="original")]
        parameters = list(inspect.signature(degrade).parameters.values())[1:]
        numbers = [_input(parameter.name, parameter.default) for parameter in parameters]
        preset = gr.Dropdown(list(PRESETS), label="preset")
        picture, values, trigger = gr.Image(format="png"), gr.JSON(), gr.Button()
        trigger.click(degrade, [pictures[0], *numbers], [picture, values], api_name="degrade")
        trigger.click(sample, [preset, numbers[-1]], values, api_name="sample")
        trigger.click(restore, pictures[0], picture, api_name="restore", **NETWORK)
        which = gr.Textbox("all", label="faces")
        blend = [gr.Number(1, label="strength"), gr.Number(1, label="upscale")]
        trigger.click(restore_photo, [pictures[0], which, *blend], [picture, values], api_name="photo", **NETWORK)
        trigger.click(score, pictures, values, api_name="score")


def guard(page: gr.Blocks) -> None:
    """For all events of the page, private ones too: a program may name no file but those that were uploaded here.

    Gradio itself looks only at the paths of what calls itself a file, and answers what it cannot take by null. An address
    on the net that calls itself a file is left to gradio, which fetches nothing from private networks.
    """
    inner = page.preprocess_data

    async def preprocess(block, inputs, *rest, **named):
        folder = gr.utils.get_upload_folder()
        if not all(path.startswith(("http://", "https://")) or images.uploaded(path, folder) for path in _paths(inputs)):
            raise gr.Error(NO_FILE, print_exception=False)
        try:
            return await inner(block, inputs, *rest, **named)
        except gr.Error as error:  # gradio's own quote what came, however long
            raise gr.Error(_shortened(str(error.message)), print_exception=False) from None
        except Exception:  # pydantic's, gradio's own and whatever a component's code runs into; their texts name files
            raise gr.Error(WRONG_KIND, print_exception=False) from None

    page.preprocess_data = preprocess


def _shortened(sentence: str) -> str:
    """One line of at most 400 characters: its middle goes, for what was wrong stands at one end and the way out at the other."""
    line = " ".join(sentence.split())
    return line if len(line) <= 400 else f"{line[:100]} ... {line[-295:]}"


def _paths(value) -> Iterator[str]:
    """Every path in what a program sent, however deep."""
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        yield value["path"]
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _paths(part)


def _input(name: str, value) -> gr.components.Component:
    if isinstance(value, str):
        return gr.Dropdown(BLUR_KINDS, value=value, label=name)
    return gr.Checkbox(value, label=name) if isinstance(value, bool) else gr.Number(value, label=name)


def _judged(name: str, value: float | str) -> dict:
    better = "lower" if metrics.METRICS[name].lower_better else "higher"
    if isinstance(value, str):
        return {"value": None, "better": better, "missing": value}
    return {"value": "infinite" if value == float("inf") else value, "better": better}


def _png(image, name: str) -> str:
    return images.save(images.png(image), gr.utils.get_upload_folder(), f"{name}.png")
