"""Weight files of other networks, recognised by the names of their tensors, and what to do with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SPANDREL = "python -m eval run restores with it as spandrel:{file}"
RESULTS = "restore with the program of its authors, and give the folder of results to python -m eval run as folder:DIR"
METRIC = "python -m eval run measures with it, as --{}-weights {{file}}"
WRAPPERS = ("params_ema", "params", "state_dict", "g_ema", "generator", "model")  # keys that hold the state dict
PREFIXES = ("module.", "vqvae.")  # of all tensors


@dataclass(frozen=True)
class Family:
    """A kind of network: the names of tensors that identify it, and a clause that says what to do with its file."""

    network: str
    tensors: tuple[str, ...]
    advice: str


FAMILIES = (  # the first one that fits
    Family("GFPGAN", ("toRGB.0.weight", "stylegan_decoder.style_mlp.1.weight"), SPANDREL),
    Family("CodeFormer", ("position_emb", "idx_pred_layer.1.weight", "quantize.embedding.weight"), SPANDREL),
    Family("RestoreFormer", ("quantize.embedding.weight", "encoder.conv_in.weight", "quant_conv.weight"), SPANDREL),
    Family("VQFR", ("inpfeat_extraction.weight", "main_branch.align_func_dict.Level_1.dcn.weight"), RESULTS),
    Family("SwinIR", ("layers.0.residual_group.blocks.0.norm1.weight",), RESULTS),
    Family(
        "Real-ESRGAN", ("conv_first.weight", "body.0.rdb1.conv1.weight"),
        "python -m gpen restore enlarges backgrounds with it as --background {file}",
    ),
    Family(
        "StyleGAN2", ("input.input", "style.1.weight", "to_rgb1.conv.weight"),
        "its blocks have no noise features, so train a prior in the form of GPEN with python -m gpen train prior",
    ),
    Family("ArcFace", ("fc5.weight", "bn5.weight", "layer1.0.conv1.weight"), METRIC.format("deg")),
    Family("WFLW landmark", ("conv_last0.weight", "bn_end0.weight", "l0.weight"), METRIC.format("lmd")),
)  # fmt: skip


def recognise(content: object) -> Family | None:
    """The family of the content of a weight file, a state dict or a dict that holds one; None for GPEN and unknown networks."""
    while isinstance(content, Mapping) and (key := next((k for k in WRAPPERS if isinstance(content.get(k), Mapping)), None)):
        content = content[key]
    if not isinstance(content, Mapping):
        return None
    names = {str(name) for name in content}
    for prefix in PREFIXES:
        names |= {name.removeprefix(prefix) for name in names}
    return next((family for family in FAMILIES if names.issuperset(family.tensors)), None)
