"""HTTP API and MCP tools: /degrade, /sample, /restore, /photo and /score.

The functions are stateless: files in, PNG files and JSON out. The events of the page itself are private.
"""

from __future__ import annotations

import inspect
import urllib.parse
from typing import Any

import gradio as gr
import numpy as np

import gpen
from demo import experiment, images
from demo.photo import photo_state
from demo.server import gradio_patches
from demo.server.messages import public_message, show_user_errors, without_paths
from demo.tabs.playground import NETWORK_LIMIT, image_input
from eval.metrics import registry
from gpen.degradation.degradation import BLUR_KINDS, PRESETS
from gpen.errors import GPENError

NO_FILE = "The file is not on the server: upload it first."
REMOTE_FILE = (
    "The image is an address, which this server does not fetch: upload the file and pass the path that the answer contains."
)
OWN_FILE = "/gradio_api/file="  # in the address of a file of this server
WRONG_KIND = (
    "An argument is missing, unexpected or of the wrong type: upload files first and pass plain numbers; "
    'the link "Use via API" lists the parameters of each function.'
)


def endpoints(restorer: gpen.Restorer) -> None:
    """Add the endpoints to the current gr.Blocks. `restorer` is a gpen.Restorer."""
    size = restorer.net.size

    @show_user_errors
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
        """Degrade a face with the degradation model of GPEN: blur, downsample, add noise, compress as JPEG.

        The image is first cropped to its central square and resized to the size of the network.

        Args:
            image: an image of one face, at least 16 by 16 pixels, at most 25 MB and 200 megapixels.
            blur_sigma: standard deviation of the blur kernel in pixels, 0 to 200; 0 disables the blur.
            blur_kind: "isotropic", "anisotropic" (both Gaussian) or "motion".
            blur_sigma_y: standard deviation along the second axis of an anisotropic kernel, in pixels.
            blur_angle: direction of the first axis or of the motion, in degrees, counterclockwise.
            kernel_size: width of the kernel in pixels, odd; 0 chooses it from sigma.
            scale: downsampling factor, at least 0.5; 1 keeps the size.
            noise_sigma: standard deviation of the Gaussian noise on the scale 0 to 255; 0 disables the noise.
            jpeg_quality: JPEG quality, 1 to 100; 0 disables the compression.
            grey: whether to convert the image to grey.
            seed: integer seed of the noise.

        Returns:
            The degraded image at its own size as a PNG file, and the parameters as JSON.
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

    @show_user_errors
    def sample(preset: str, seed: float = 0) -> dict:
        """Sample a random degradation from a published training preset, for images of the network's size.

        Args:
            preset: name of the preset, such as "gpen-release", "gpen-release-scaled" or "gfpgan".
            seed: integer seed; the same seed gives the same parameters.

        Returns:
            The parameters as JSON, in the format of gpen.Degradation.from_dict and of the downloads on the page.
        """
        return experiment.sample(preset, seed, size).to_dict()

    @show_user_errors
    def restore(image: str) -> str:
        """Restore a degraded face with GPEN.

        The network generates plausible detail. The result is not evidence of what a person looks like.

        Args:
            image: an image of one aligned face; its central square is resized to the size of the network.

        Returns:
            The restored face as a PNG file at the size of the network.
        """
        return _png(restorer.face(images.square_crop(images.decode(image))).image, "restored")

    @show_user_errors
    def restore_photo(image: str, faces: str = "all", strength: float = 1, upscale: float = 1) -> tuple[str, dict]:
        """Detect the faces of a photo, restore them with GPEN and paste them back.

        The network generates plausible detail. The result is not evidence of what a person looks like. A photo without
        a face is returned unchanged; use /restore for a single aligned face. Faces are aligned as the model requires.

        Args:
            image: a photo, at most 25 MB and 200 megapixels; above 40 megapixels it is reduced.
            faces: "all", "largest", or numbers such as "1, 3"; faces are numbered from 1, largest first.
            strength: 0 returns the photo, 1 the full restoration; values between them blend the two.
            upscale: factor by which the whole photo is enlarged with bicubic interpolation, 1 to 16.

        Returns:
            The photo as a PNG file; and as JSON the number of detected faces, and number, box, landmarks and score of
            each restored face, in pixels of the input photo.
        """
        experiment.check_numbers(strength=strength, upscale=upscale)
        found = photo_state.find_faces(restorer, image)
        chosen = photo_state.parse_faces(found, faces or "")
        _, after = photo_state.restore_faces(restorer, found, chosen, strength, upscale)
        return _png(after, "restored"), {"found": len(found.faces), "faces": photo_state.face_report(found, chosen)}

    @show_user_errors
    def score(image: str, original: str) -> dict:
        """Compare an image with its original: PSNR and SSIM (higher is better), LPIPS (lower is better).

        Args:
            image: the image to evaluate, such as a restored face.
            original: the reference image. The central square of both is resized to the size of the network.

        Returns:
            For each metric its value, which direction is better, and whether the default model was trained with features of
            the network of the metric ("seen_in_training"); or the reason why it is not available.
        """
        values = registry.compare(images.read_face(image, size), images.read_face(original, size), experiment.METRICS)
        return {name: _judged(name, value) for name, value in values.items()}

    with gr.Column(visible=False):
        inputs = [image_input(label="image"), image_input(label="original")]
        parameters = list(inspect.signature(degrade).parameters.values())[1:]
        numbers = [_input(parameter.name, parameter.default) for parameter in parameters]
        preset = gr.Dropdown(list(PRESETS), label="preset")
        output, values, trigger = gr.Image(format="png"), gr.JSON(), gr.Button()
        trigger.click(degrade, [inputs[0], *numbers], [output, values], api_name="degrade")
        trigger.click(sample, [preset, numbers[-1]], values, api_name="sample")
        trigger.click(restore, inputs[0], output, api_name="restore", **NETWORK_LIMIT)
        which = gr.Textbox("all", label="faces")
        blend = [gr.Number(1, label="strength"), gr.Number(1, label="upscale")]
        trigger.click(restore_photo, [inputs[0], which, *blend], [output, values], api_name="photo", **NETWORK_LIMIT)
        trigger.click(score, inputs, values, api_name="score")


def guard(page: gr.Blocks) -> None:
    """Reject files that were not uploaded, for all events of the page including private ones and those of MCP tools.

    Gradio checks only the paths of values marked as files, fetches URLs in full, and replaces values that it cannot convert by
    None.
    """

    def wrap(convert: gradio_patches.Preprocess) -> gradio_patches.Preprocess:
        async def checked(block: Any, inputs: list, *rest: Any, **named: Any) -> list:
            folder = gradio_patches.upload_folder()
            try:
                inputs = local_files(inputs, folder)
                return await convert(block, inputs, *rest, **named)
            except gr.Error as error:  # messages of gradio may quote arguments of any length
                raise gr.Error(_shortened(without_paths(str(error.message))), print_exception=False) from None
            except GPENError as error:
                raise gr.Error(public_message(error), print_exception=False) from None
            except Exception:  # errors of pydantic, gradio and components; their messages may contain server paths
                raise gr.Error(WRONG_KIND, print_exception=False) from None

        return checked

    gradio_patches.wrap_preprocess(page, wrap)


def local_files(value: Any, folder: str) -> Any:
    """Return nested request data in which every file is one in `folder`; an address of such a file becomes its path.

    Raises GPENError for any other file. Nothing is fetched.
    """
    if isinstance(value, list):
        return [local_files(part, folder) for part in value]
    if not isinstance(value, dict):
        return value
    parts = {name: local_files(part, folder) for name, part in value.items() if name not in ("path", "url")}
    path, address = value.get("path"), value.get("url")
    if not isinstance(path, str) or not path and not address:  # not a file
        return parts | {name: value[name] for name in ("path", "url") if name in value}
    if not path or "://" in path:
        path = urllib.parse.unquote((path or str(address)).partition(OWN_FILE)[2])
        if not path:
            raise GPENError(REMOTE_FILE)
    if not images.uploaded_path(path, folder):
        raise GPENError(NO_FILE)
    return parts | {"path": path, "url": None}


def _shortened(sentence: str) -> str:
    """Shorten a message to one line of at most 400 characters; the beginning and the end are kept."""
    line = " ".join(sentence.split())
    return line if len(line) <= 400 else f"{line[:100]} ... {line[-295:]}"


def _input(name: str, value: Any) -> gr.components.Component:
    if isinstance(value, str):
        return gr.Dropdown(BLUR_KINDS, value=value, label=name)
    return gr.Checkbox(value, label=name) if isinstance(value, bool) else gr.Number(value, label=name)


def _judged(name: str, value: float | str) -> dict:
    metric = registry.METRICS[name]
    about = {"better": "lower" if metric.lower_better else "higher", "seen_in_training": metric.seen_in_training}
    if isinstance(value, str):
        return {"value": None, **about, "missing": without_paths(value)}
    return {"value": "infinite" if value == float("inf") else value, **about}


def _png(image: np.ndarray, name: str) -> str:
    return images.save(images.png(image), gradio_patches.upload_folder(), f"{name}.png")
