"""Training data: files are checked up front, and failures of worker processes are one sentence."""

import dataclasses
import subprocess
import sys

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from gpen import GPENConfig
from gpen.cli.train import read_command
from gpen.errors import GPENError
from gpen.training.config import FinetuneConfig, PriorConfig, ValidationConfig
from gpen.training.data.dataset import FacePairs, Faces, list_images, one_sentence_errors, read_face, sample_degradation
from gpen.training.monitoring.validation import validation_files

CONFIG = FinetuneConfig(network=GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2), workers=0)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_cut_off_images_are_refused_by_name_unless_they_are_skipped(faces, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = cv2.imencode(suffix, noise)[1].tobytes()
    (faces / f"cut{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GPENError, match=f"1 of 7 files are no complete images .*cut{suffix}.*--skip-bad"):
        FacePairs(faces, CONFIG)
    assert len(FacePairs(faces, dataclasses.replace(CONFIG, skip_bad=True)).files) == 6


def test_many_bad_files_are_counted(faces):
    for k in range(6):
        (faces / f"bad-{k}.png").write_bytes(b"")
    with pytest.raises(GPENError, match="6 of 12 files .*bad-0.*bad-1.*bad-2.png and 3 more"):
        Faces(faces, CONFIG)


def test_macos_files_and_folders_with_image_names_are_no_images(faces):
    (faces / "._0.png").write_bytes(b"metadata of macOS")
    (faces / "folder.png").mkdir()
    assert [path.name for path in list_images(faces)] == [f"{k}.png" for k in range(6)]
    assert len(Faces(faces, CONFIG).files) == 6


def test_other_shapes_are_cropped_to_their_centre_not_squeezed(tmp_path):
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 255
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    assert (read_face(tmp_path / "wide.png", 16) == 255).all()


def test_ranges_are_scaled_where_the_name_says_so():
    scales = {
        name: [sample_degradation(name, np.random.default_rng(k), 256).scale for k in range(200)]
        for name in ("gpen-release", "gpen-release-scaled")
    }
    assert 0.8 <= min(scales["gpen-release"]) and 7 < max(scales["gpen-release"]) <= 8
    assert 0.4 <= min(scales["gpen-release-scaled"]) and max(scales["gpen-release-scaled"]) <= 4
    with pytest.raises(GPENError, match="no preset 'gpen-release-unscaled'"):
        sample_degradation("gpen-release-unscaled", np.random.default_rng(0), 256)


class Broken(Faces):
    """Items of which the third cannot be read."""

    def __getitem__(self, i):
        return super().__getitem__(i) if i < 2 else read_face(self.files[0].with_name("gone.png"), 16)


def test_error_in_a_worker_process_is_one_sentence(faces):
    loader = DataLoader(Broken(faces, CONFIG), batch_size=1, sampler=range(4), num_workers=1)
    with pytest.raises(GPENError, match="There is no file .*gone.png: check the path") as caught, one_sentence_errors():
        list(loader)
    assert "Traceback" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_full_shared_memory_is_one_sentence(faces, tmp_path):
    """A run in a mount namespace whose /dev/shm holds 64 kB."""
    (tmp_path / "tiny.toml").write_text(
        "total_images = 64\nbatch_size = 32\nworkers = 1\nallow_upscaled = true\n[network]\nsize = 64\nnarrow = 0.0625\n"
    )
    mounted = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mounted], capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    run = f'"{sys.executable}" -m gpen train finetune --data "{faces}" --config "{tmp_path}/tiny.toml" --out "{tmp_path}/run"'
    result = subprocess.run(["unshare", "-m", "sh", "-c", f"{mounted} && {run}"], capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert "ran out of shared memory (/dev/shm): set workers = 0" in result.stderr
    assert "error:" in result.stderr.splitlines()[-1]


LARGER = dataclasses.replace(CONFIG, network=dataclasses.replace(CONFIG.network, size=32, in_size=32))


def test_faces_smaller_than_the_network_are_refused_by_name_unless_they_may_be_enlarged(faces):
    cv2.imwrite(str(faces / "large.png"), np.zeros((32, 40, 3), np.uint8))
    words = r"6 of 7 images of .*faces are smaller than 32 px \(0.png with 24 px, 1.png with 24 px, .*--allow-upscaled"
    for kind, config in ((FacePairs, LARGER), (Faces, PriorConfig(network=LARGER.network))):
        with pytest.raises(GPENError, match=words):
            kind(faces, config)
        assert kind(faces, dataclasses.replace(config, allow_upscaled=True))[0] is not None


def test_validation_faces_smaller_than_the_network_are_refused(faces):
    config = dataclasses.replace(LARGER, validation=ValidationConfig(data=str(faces), images=4))
    with pytest.raises(GPENError, match="4 of 4 images .* smaller than 32 px"):
        validation_files(config)
    assert len(validation_files(dataclasses.replace(config, allow_upscaled=True))) == 4


@pytest.mark.slow
def test_option_to_enlarge_faces():
    for stage in ("prior", "finetune"):
        command = [stage, "--data", "faces", "--out", "run"]
        assert not read_command(command).settings.allow_upscaled
        assert read_command([*command, "--allow-upscaled"]).settings.allow_upscaled
