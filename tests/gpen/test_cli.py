"""Command line: output files, user errors, exit status."""

import contextlib
import dataclasses
import http.server
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

import gpen
from gpen.cli import COMMANDS, main
from gpen.cli.train import STAGES, read_command
from gpen.faces.alignment import Face, template
from gpen.models import checkpoints, download, modelscope
from gpen.training.config import FinetuneConfig, PriorConfig, read_run_config
from gpen.version import __version__
from tests.gpen.media.video_files import encode, moving_frames


@pytest.fixture
def face(tmp_path):
    path = tmp_path / "face.png"
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8), (48, 48))
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    gpen.save(gpen.GPEN(gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2)), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize(("given", "expected"), [((), "gpen"), (("--alignment", "ffhq"), "ffhq")])
def test_restore_aligns_photos_for_the_model(face, model, tmp_path, monkeypatch, given, expected):
    found = [Face((8, 8, 40, 40), (template(32) + 8).astype(np.float32), 0.9)]
    monkeypatch.setattr("gpen.cli.restore.load_detector", lambda name: lambda image: found)
    published = tmp_path / "published.pth"
    torch.save(gpen.to_published(gpen.load(model)), published)
    command = ["restore", str(face), "--model", str(published), *given, "--out", str(tmp_path / "out")]
    main([*command, "--report", str(tmp_path / "report.json")])
    restorer = gpen.Restorer(gpen.load(published), alignment=expected)
    assert np.array_equal(read(tmp_path / "out" / "face.png"), restorer.photo(read(face), faces=found).image)
    assert json.loads((tmp_path / "report.json").read_text())["alignment"] == expected


def test_restore_matches_restorer(face, model, tmp_path, capsys):
    main(["restore", str(face), "--aligned", "--model", str(model), "--out", str(tmp_path / "out")])
    expected = gpen.Restorer(gpen.load(model)).face(read(face)).image
    assert np.array_equal(read(tmp_path / "out" / "face.png"), expected)
    assert capsys.readouterr().out.strip() == "1 restored"


@pytest.mark.slow
def test_restore_detects_faces_in_folders_and_writes_a_report(model, tmp_path, capsys):
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    photo = np.pad(astronaut()[:256, 96:352], ((0, 0), (0, 100), (0, 0)), mode="reflect")
    cv2.imwrite(str(tmp_path / "in" / "deeper" / "a.png"), photo[..., ::-1])
    cv2.imwrite(str(tmp_path / "in" / "plain.png"), np.full((64, 64, 3), 90, np.uint8))
    command = f"restore {tmp_path / 'in'} --recursive --jobs 2 --only largest --model {model} --out {tmp_path / 'out'}"
    main([*command.split(), "--report", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["only"] == "largest" and [row["status"] for row in report["files"]] == ["no face", "restored"]
    x0, y0, x1, y1 = report["files"][1]["faces"][0]["box"]
    assert 70 < x0 < x1 < 190 and 40 < y0 < y1 < 190 and len(report["files"][1]["faces"]) == 1
    assert np.array_equal(read(tmp_path / "out" / "plain.png"), read(tmp_path / "in" / "plain.png"))
    assert not np.array_equal(read(tmp_path / "out" / "deeper" / "a.png"), photo)
    assert "1 restored" in capsys.readouterr().out


@pytest.mark.slow
def test_the_report_of_a_mixed_folder_names_every_file_once(face, model, tmp_path, monkeypatch, capsys):
    found = [Face((8, 8, 40, 40), (template(32) + 8).astype(np.float32), 0.9)]
    detect = lambda image, rotated=True: found if np.ptp(image) > 40 else []  # noqa: E731
    monkeypatch.setattr("gpen.cli.restore.load_detector", lambda name: detect)
    folder = tmp_path / "in"
    folder.mkdir()
    face.rename(folder / "face.png")
    cv2.imwrite(str(folder / "plain.png"), np.full((48, 48, 3), 90, np.uint8))
    video = encode(folder / "clip.mkv", [*moving_frames(40, 64, 64)], options={"g": "6"}).read_bytes()
    (folder / "cut.mkv").write_bytes(video[: len(video) * 7 // 10])
    for name in ("notes.txt", "old.ogv", "broken.jpg"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(SystemExit) as stop:
        main(
            ["restore", str(folder), "--model", str(model), "--out", str(tmp_path / "out"), "--report", str(tmp_path / "r.json")]
        )
    rows = json.loads((tmp_path / "r.json").read_text())["files"]
    assert stop.value.code == 1 and sorted(row["input"] for row in rows) == sorted(map(str, folder.iterdir()))
    assert {Path(row["input"]).name: row["status"] for row in rows} == {
        "face.png": "restored", "plain.png": "no face", "clip.mkv": "restored", "cut.mkv": "failed", "broken.jpg": "failed",
        "notes.txt": "unsupported", "old.ogv": "unsupported",
    }  # fmt: skip
    assert all(row.get("reason") or row.get("error") for row in rows if row["status"] in ("failed", "unsupported"))
    assert "old.ogv: a .ogv video cannot be written: convert it to .mp4 or .mkv." in capsys.readouterr().err


def test_damaged_file_is_reported_and_the_exit_status_is_1(face, model, tmp_path, capsys):
    (tmp_path / "cut.png").write_bytes(face.read_bytes()[:100])
    command = f"restore {tmp_path / 'cut.png'} {face} --aligned --model {model} --out {tmp_path / 'out'}".split()
    with pytest.raises(SystemExit) as stop:
        main(command)
    printed = capsys.readouterr()
    assert stop.value.code == 1 and (tmp_path / "out" / "face.png").exists()
    assert [line for line in printed.err.splitlines() if line.startswith("error: ") and "cut.png" in line]
    assert printed.out.strip() == "1 restored, 1 failed"


def test_read_only_output_folder_is_an_error(face, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root can write to any folder that is not on a read-only disk
    with pytest.raises(SystemExit) as stop:
        main(["restore", str(face), "--aligned", "--model", "absent.pth", "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and "it is read-only" in capsys.readouterr().err


FFHQ_LICENCE = "CC BY-NC-SA 4.0 (non-commercial; trained on FFHQ)"


def info(model, capsys):
    main(["info", *([str(model)] if model else [])])
    return capsys.readouterr().out


def test_info_prints_the_settings(model, capsys):
    printed = info(model, capsys)
    assert "narrow               0.0625" in printed and str(model) in printed
    assert re.search(r"parameters +[\d,]+\n", printed) and "states no licence" in printed and "images_seen" not in printed


SHIPPED = {  # file: values of gpen info
    "gpen-256": {"file size": "15.6 MB", "images_seen": "165,400", "licence": FFHQ_LICENCE},
    "gpen-colorize": {"file size": "15.6 MB", "images_seen": "48,000", "licence": FFHQ_LICENCE},
    "gpen-64": {"file size": "3.3 MB", "images_seen": "6,000", "licence": FFHQ_LICENCE},
    "prior-64": {"file size": "2.4 MB", "licence": "research use; licences of some training faces are not stated"},
}


@pytest.mark.parametrize("file", sorted(checkpoints.ASSETS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_info_of_every_shipped_file(file, capsys):
    lines = [re.split(r"  +", line, maxsplit=1) for line in info(file.stem, capsys).splitlines()[1:]]
    shown = dict(lines)
    assert shown | SHIPPED[file.stem] == shown
    trained_on = shown.get("trained_on", "").partition(" images, of which the file has fingerprints")[0]
    assert trained_on == ("" if file.stem == "prior-64" else "5,550")
    card = Path(shown["model card"]).read_text()
    assert f"assets/{file.name}" in card and shown.get("images_seen", "80,000") in card


def test_info_prints_the_licence_and_images_seen_of_a_file(model, tmp_path, capsys):
    gpen.save(gpen.load(model), tmp_path / "own.safetensors", licence="CC BY-NC-SA 4.0", images_seen="71000")
    printed = info(tmp_path / "own.safetensors", capsys)
    assert "licence              CC BY-NC-SA 4.0 (non-commercial; trained on FFHQ)\n" in printed
    assert "images_seen          71,000\n" in printed
    gpen.save(gpen.load(model), tmp_path / "own.safetensors", licence="CC0")
    assert "licence              CC0\n" in info(tmp_path / "own.safetensors", capsys)


def test_info_reads_published_files_and_discriminators(tmp_path, capsys):
    config = gpen.GPENConfig(size=256, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)
    for name, net in (("GPEN-BFR-256", gpen.GPEN(config)), ("GPEN-BFR-256-D", gpen.Discriminator(config))):
        torch.save(gpen.to_published(net), tmp_path / f"{name}.pth")
        printed = info(tmp_path / f"{name}.pth", capsys)
        assert "academic and non-commercial use only" in printed
        assert ("alignment            gpen\n" in printed) == isinstance(net, gpen.GPEN)
        assert f"{sum(p.numel() for p in net.parameters()):,}" in printed


@pytest.mark.parametrize("name", [*checkpoints.PUBLISHED_MODELS, *modelscope.NAMES])
@pytest.mark.parametrize("mirror", [None, ""])
def test_info_never_downloads(name, mirror, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    monkeypatch.delenv("GPEN_DOWNLOAD_URL", raising=False)
    if mirror is not None:
        monkeypatch.setenv("GPEN_DOWNLOAD_URL", mirror)
    monkeypatch.setattr(download, "fetch", lambda *args, **kwargs: pytest.fail("a download was started"))
    printed = info(name, capsys)
    name = modelscope.NAMES.get(name, name)
    address = modelscope.FILES[name].url if name in modelscope.FILES else f"{download.MODELS_URL}/{name}.pth"
    assert (f"would download {address} to" in printed) == (mirror is None)
    assert str(tmp_path / "gpen") in printed and "No licence is stated by the authors" in printed


@pytest.mark.parametrize("name", [*checkpoints.PUBLISHED_MODELS, "GPEN-BFR-512.pth", "absent", None])
def test_info_sends_no_request(name, tmp_path, monkeypatch, capsys):
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *words):
            pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GPEN_MODELS", raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("GPEN_DOWNLOAD_URL", f"http://127.0.0.1:{server.server_address[1]}")
        with contextlib.suppress(SystemExit):  # of an unknown name
            main(["info", *([name] if name else [])])
        server.shutdown()
    assert requests == [] and not list(tmp_path.rglob("*.pth*"))


@pytest.mark.slow
def test_runs_as_a_module():
    printed = subprocess.run([sys.executable, "-m", "gpen", "--version"], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == f"gpen {__version__}"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("degrade absent.png --out x.png", "no file absent.png"),
        ("degrade text.png --out x.png", "cannot be read as an image"),
        ("degrade empty.png --out x.png", "cannot be read as an image"),
        ("degrade face.png --out x.xyz", "format"),
        ("degrade face.png --jpeg-quality 400 --out x.png", "jpeg_quality"),
        ("restore face.png --model absent.pth --out out", "no file absent.pth"),
        ("restore face.png --model net.safetensors --strength 2 --out out", "strength"),
        ("restore face.png --aligned --model net.safetensors --out .", "already"),
        ("restore face.png --aligned --model net.safetensors --out face.png/out", "--out face.png/out is not writable"),
        ("restore absent.png --model net.safetensors --out out", "no file or folder absent.png"),
        ("restore face.png --model net.safetensors --detector absent.onnx --out out", "absent.onnx"),
        ("restore face.png --model net.safetensors --detector eyes --out out", "no detector 'eyes'"),
        ("restore face.png --aligned --upscale 2 --model net.safetensors --out out", "leave out"),
        ("restore face.png --aligned --alignment gpen --model net.safetensors --out out", "leave out --alignment"),
        ("info text.png", "cannot be read"),
        ("train finetune --data nowhere --out run", "no images"),
        ("train prior --data nowhere --config absent.toml --out run", "no configuration absent.toml"),
        ("train finetune --data nowhere --out run --projected.share -1", "share and start_images are at least 0"),
        ("train finetune --data nowhere --out run --validation.images 0", "at least 2 images"),
        ("train finetune --data nowhere --out run --network.size 100", "powers of two"),
        ("train finetune --data nowhere --out run --task upscale", "task is restore, colorize or inpaint"),
        ("restore --out out", "nothing to restore"),
        ("info GPEN-BFR-64", "No model is called 'GPEN-BFR-64'"),
    ],
)
def test_user_errors_are_one_line_with_exit_status_2(command, words, face, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("not an image, words only, again and again and again\n")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    printed = capsys.readouterr().err
    assert stop.value.code == 2
    assert words in printed and printed.startswith("error: ") and printed.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "subcommand"),
        ("nonsense", "nonsense"),
        ("train", "subcommand"),
        ("train --out run", "--out"),
        ("train prior --data d --out run --task colorize", "--task"),
        ("train finetune --data d --out run --lr-encoder fast", "--lr-encoder"),
        ("train finetune --data d --out run --config", "--config"),
        ("train finetune --data d --out run --degradations downsample", "NAME=NUMBER"),
        ("restore a.png", "--out"),
        ("restore a.png --out d --engine tensorrt", "--engine"),
        ("restore a.png --out d --no-aligned", "--no-aligned"),
        ("degrade a.png --out b.png --jpeg-quality good", "--jpeg-quality"),
        ("export --engine torch --out a.onnx", "--engine"),
    ],
)
@pytest.mark.slow
def test_usage_errors_have_exit_status_2(command, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    printed = capsys.readouterr()
    assert stop.value.code == 2 and words in printed.err and not printed.out and "Traceback" not in printed.err


HELPS = [[], *([name] for name in COMMANDS), *(["train", name] for name in STAGES), ["train", "--smoke"]]


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help_is_complete_at_80_columns(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    usage, _, rest = printed.partition("\n")
    assert usage.startswith("usage: gpen") and max(map(len, rest.splitlines())) <= 80
    assert re.search(r"[a-z]", rest.strip().splitlines()[0]), "there is no description"
    options = options_of(rest)
    assert options and not [name for name, text in options.items() if len(text) < 5], options
    if command[1:] != ["--smoke"] and command not in ([], ["train"]):
        lacking = [name for name, text in options.items() if not re.search(r"\((default: .+|required)\)$", text)]
        assert lacking == ["-h, --help"]


def options_of(help_text):
    """{option: its help without line breaks} from a help text, with or without lines around its boxes."""
    options, current = {}, None
    for line in help_text.replace("│", " ").splitlines():
        if re.match(r"  --?[a-z]", line):
            current, _, text = re.sub(r" {2,}", "\n", line.strip(), count=1).partition("\n")
            options[current] = text
        elif current and line.startswith("    ") and line.strip():
            options[current] = f"{options[current]} {line.strip()}".strip()
        else:
            current = None
    return options


def test_the_help_of_a_stage_lists_every_setting_with_the_values_of_the_file(tmp_path, capsys):
    (tmp_path / "a.toml").write_text("lr_encoder = 0.0123\n[network]\nsize = 64\n")
    with pytest.raises(SystemExit):
        main(["train", "finetune", "--config", str(tmp_path / "a.toml"), "--help"])
    options = {re.split(r"[ ,]", name)[0]: text for name, text in options_of(capsys.readouterr().out).items()}
    assert options["--lr-encoder"].endswith("(default: 0.0123)") and options["--network.size"].endswith("(default: 64)")

    def names(kind, prefix="--"):
        for field in dataclasses.fields(kind):
            inner = getattr(kind(), field.name)
            name = prefix + field.name.replace("_", "-")
            if dataclasses.is_dataclass(inner):
                yield from names(type(inner), f"{name}.")
            else:
                yield name

    assert set(names(FinetuneConfig)) <= options.keys()


def test_options_override_the_configuration_file(tmp_path):
    (tmp_path / "a.toml").write_text(
        "total_images = 40\nlr_encoder = 0.01\nlr_decoder = 0.02\ncompile = true\ninit = 'a.pth'\nbatch_size = 2\n"
        "discriminator = 'projected'\n[projected]\nshare = 0.3\nramp_images = 7\n[network]\nsize = 64\nnarrow = 0.25\n"
    )
    base = f"finetune --data d --out r --config {tmp_path / 'a.toml'}"
    file = read_run_config(tmp_path / "a.toml", FinetuneConfig)
    assert read_command(base.split()).settings == file
    options = (
        "--lr-encoder 1e-3 --projected.share 0.1 --network.size 256 --validation.data V --skip-bad --no-compile --init None "
        "--projected.augmentation.zoom 0.2 --degradations gpen-release=0.5,downsample=2 --licence CC0"
    )
    settings = read_command(f"{base} {options}".split()).settings
    assert settings == dataclasses.replace(
        file, lr_encoder=1e-3, skip_bad=True, compile=False, init=None, licence="CC0",
        degradations={"gpen-release": 0.5, "downsample": 2.0},
        network=dataclasses.replace(file.network, size=256, in_size=256),
        validation=dataclasses.replace(file.validation, data="V"),
        projected=dataclasses.replace(
            file.projected, share=0.1, augmentation=dataclasses.replace(file.projected.augmentation, zoom=0.2)
        ),
    )  # fmt: skip


def test_overriding_the_size_keeps_a_smaller_input(tmp_path):
    (tmp_path / "a.toml").write_text("[network]\nsize = 64\nin_size = 16\n")
    network = read_command(f"prior --data d --out r --config {tmp_path / 'a.toml'} --network.size 128".split()).settings.network
    assert (network.size, network.in_size) == (128, 16)


@pytest.mark.slow
def test_help_imports_no_training_code():
    code = (
        "import sys; from gpen.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "found = [n for n in ('gpen.training.finetune', 'gpen.training.loop', 'matplotlib', 'accelerate') if n in sys.modules]\n"
        "print('imported:', found, 'gpen.training' in sys.modules)"
    )
    for command, training in (([], False), (["restore"], False), (["train", "finetune"], True)):
        result = subprocess.run([sys.executable, "-c", code, *command, "--help"], capture_output=True, text=True, check=True)
        assert result.stdout.splitlines()[-1] == f"imported: [] {training}"


def test_a_run_stores_the_licence_only_if_the_settings_name_one(faces, tmp_path, capsys):
    options = (
        f"train finetune --data {faces} --device cpu --network.size 16 --network.narrow 0.0625 --network.style-dim 16 "
        "--network.mapping-layers 2 --total-images 8 --batch-size 4 --workers 0"
    ).split()
    main([*options, "--out", str(tmp_path / "a"), "--licence", "CC0"])
    main([*options, "--out", str(tmp_path / "b")])
    capsys.readouterr()
    for file in ("gpen", "discriminator"):
        printed = info(tmp_path / "a" / f"{file}.safetensors", capsys)
        assert "licence              CC0\n" in printed and "images_seen          8\n" in printed
        assert "licence" not in checkpoints.read_metadata(tmp_path / "b" / f"{file}.safetensors")


def test_settings_for_ffhq_name_its_licence():
    folder = Path(gpen.__file__).parent / "training" / "configs"
    kinds = {
        "default-256": FinetuneConfig,
        "colorize-256": FinetuneConfig,
        "inpaint-256": FinetuneConfig,
        "small-64": FinetuneConfig,
        "prior-64-projected": PriorConfig,
    }
    for name, kind in kinds.items():
        assert read_run_config(folder / f"{name}.toml", kind).licence == "CC BY-NC-SA 4.0"
