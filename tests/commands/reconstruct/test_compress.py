"""`ssl compress` and `ssl decompress`: the result is what the run reconstructs, bit by bit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import ssl_cli
from ssl_cli.data.images.datasets import Digits
from ssl_cli.methods.autoencoders.vector_quantized import VQVAE
from ssl_cli.runs.digests import write_digests
from tests.conftest import Cli, run_here

SMALL = {
    "vqvae": [
        "model.network.channels=[8]",
        "model.quantizer.num_codes=32",
        "model.prior_width=4",
        "model.prior_layers=1",
    ],
    "binary_ae": ["model.network.hidden=[32]", "model.network.latent=40"],
    "ae": ["model.network.hidden=[32]"],
}
Pictures = Callable[[str, int], Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs on the digits, by model."""
    outputs, quick = tmp_path_factory.mktemp("runs"), ["trainer=cpu", "trainer.max_steps=40", "probes=false"]
    for model, options in SMALL.items():
        prior = ["prior_steps=0"] if model == "vqvae" else []
        words = [f"model={model}", *quick, *prior, *options, f"paths.outputs={outputs}"]
        assert run_here("reconstruct", *words, cwd=outputs).returncode == 0
    return {model: next((outputs / "reconstruct" / f"{model}-digits").iterdir()) for model in SMALL}


@pytest.fixture
def pictures(workdir: Path) -> Pictures:
    """`pictures("folder", n)`: the first n digits as PNG files, in two sub-folders."""

    def write(folder: str, n: int) -> Path:
        for k, image in enumerate(Digits().read().x[:n]):
            path = workdir / folder / str(k % 2) / f"{k:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(path)
        return workdir / folder

    return write


def read(folder: Path) -> dict[str, np.ndarray]:
    """Name -> (1, H, W)"""
    return {str(path.relative_to(folder)): np.asarray(Image.open(path))[None] for path in folder.rglob("*.png")}


def there_and_back(cli: Cli, run: Path, source: Path, name: str) -> tuple[dict[str, np.ndarray], str]:
    """Return the decompressed images, and what `ssl compress` printed."""
    code, printed, err = cli("compress", f"run={run}", f"input={source}", f"output={name}.sslz")
    assert code == 0, err
    code, out, err = cli("decompress", f"run={run}", f"input={name}.sslz", f"output={name}")
    assert code == 0, err
    assert "the checksum matches" in out
    return read(Path(name)), printed


@pytest.mark.parametrize("model", ["vqvae", "binary_ae"])
@pytest.mark.parametrize("n", [1, 63, 65, 1030])
def test_the_result_is_the_reconstruction(
    cli: Cli, runs: dict[str, Path], pictures: Pictures, model: str, n: int
) -> None:
    source = pictures("in", n)
    run, original = ssl_cli.load(runs[model]), read(source)
    found, printed = there_and_back(cli, runs[model], source, "out")
    assert sorted(found) == sorted(original)
    names = sorted(original)
    rebuilt = run.reconstruct(np.stack([original[name] for name in names]))
    for name, image in zip(names, rebuilt, strict=True):
        np.testing.assert_array_equal(found[name], image)
    assert f"images: {n:,} of 8 x 8 grey" in printed
    assert f"{n * 64:,} as pixels, {Path('out.sslz').stat().st_size:,} compressed" in printed
    assert printed.strip().splitlines()[-1] == "out.sslz"


@pytest.mark.parametrize("model", ["vqvae", "binary_ae"])
def test_an_image_does_not_depend_on_the_others(
    cli: Cli, runs: dict[str, Path], pictures: Pictures, model: str
) -> None:
    source = pictures("in", 70)
    together, _ = there_and_back(cli, runs[model], source, "all")
    for name in ("0/0000.png", "1/0001.png", "1/0069.png"):
        alone, _ = there_and_back(cli, runs[model], source / name, name.replace("/", "-"))
        (image,) = alone.values()
        np.testing.assert_array_equal(image, together[name])


def test_the_printed_sizes(cli: Cli, runs: dict[str, Path], pictures: Pictures) -> None:
    source = pictures("in", 50)
    (source / "broken.png").write_bytes(b"no picture")
    code, printed, err = cli("compress", f"run={runs['vqvae']}", f"input={source}", "output=x.sslz")
    assert code == 0, err
    assert "1 of 51 files can't be read, and are left out: broken.png" in err
    size, before = Path("x.sslz").stat().st_size, sum(path.stat().st_size for path in source.glob("*/*.png"))
    assert f"bytes: {before:,} in files, 3,200 as pixels, {size:,} compressed" in printed
    assert f"rate: {8 * size / 3200:.4f} bits per pixel" in printed
    x = np.stack([image for _, image in sorted(read_sound(source).items())])
    error = np.square(x.astype(float) - ssl_cli.load(runs["vqvae"]).reconstruct(x)).mean()
    assert f"psnr: {10 * np.log10(255**2 / error):.2f} dB" in printed


def read_sound(source: Path) -> dict[str, np.ndarray]:
    (source / "broken.png").unlink()
    return read(source)


def fault(cli: Cli, *words: str) -> str:
    code, _, err = cli(*words)
    assert code == 2, err
    assert err.startswith("error: ")
    return err


def test_error_messages(cli: Cli, runs: dict[str, Path], pictures: Pictures) -> None:
    source, run = pictures("in", 3), f"run={runs['vqvae']}"
    assert "binary_ae, vqvae can" in fault(cli, "compress", f"run={runs['ae']}", f"input={source}", "output=x.sslz")
    assert "no such file or folder" in fault(cli, "compress", run, "input=absent", "output=x.sslz")
    assert "ends in .sslz" in fault(cli, "compress", run, f"input={source}", "output=x.zip")
    assert "there is no folder" in fault(cli, "compress", run, f"input={source}", "output=absent/x.sslz")
    Path("bad").mkdir()
    Path("bad/1.png").write_bytes(b"no picture")
    message = "bad has no image that can be used: none of its 1 files can be read, such as 1.png: "
    assert message in fault(cli, "compress", run, "input=bad", "output=x.sslz")
    assert not list(Path().glob("*.sslz")) and not list(Path().glob(".x*"))

    assert cli("compress", run, f"input={source}", "output=x.sslz")[0] == 0
    before = Path("x.sslz").read_bytes()
    assert "overwrite=true" in fault(cli, "compress", run, f"input={source}/0", "output=x.sslz")
    assert Path("x.sslz").read_bytes() == before
    assert cli("compress", run, f"input={source}/0", "output=x.sslz", "overwrite=true")[0] == 0
    assert Path("x.sslz").read_bytes() != before

    assert "is not a file" in fault(cli, "decompress", run, "input=absent.sslz", "output=out")
    Path("y.sslz").write_bytes(before[:-1])
    assert "is damaged" in fault(cli, "decompress", run, "input=y.sslz", "output=out")
    other = fault(cli, "decompress", f"run={runs['binary_ae']}", "input=x.sslz", "output=out")
    assert "another model" in other
    assert not Path("out").exists()


def test_an_existing_folder_is_written_into_only_with_overwrite(
    cli: Cli, runs: dict[str, Path], pictures: Pictures, tmp_path: Path
) -> None:
    run, source = f"run={runs['binary_ae']}", pictures("in", 4)
    assert cli("compress", run, f"input={source}", "output=x.sslz")[0] == 0
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    words = ["decompress", run, "input=x.sslz", "output=out"]
    assert "overwrite=true" in fault(cli, *words)
    assert [path.name for path in Path("out").iterdir()] == ["mine.txt"]
    assert cli(*words, "overwrite=true")[0] == 0
    assert Path("out/mine.txt").read_text() == "mine" and len(read(Path("out"))) == 4

    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("0", "1"):
        for path in Path("out", name).iterdir():
            path.unlink()
        Path("out", name).rmdir()
    Path("out/0").symlink_to(outside)
    assert "leads out of output=out" in fault(cli, *words, "overwrite=true")
    assert not list(outside.iterdir())


def test_a_model_that_was_trained_further_is_another_model(
    cli: Cli, runs: dict[str, Path], pictures: Pictures, tmp_path: Path
) -> None:
    source, changed = pictures("in", 3), tmp_path / "reconstruct" / "vqvae-digits" / "changed"
    changed.mkdir(parents=True)
    for path in runs["vqvae"].iterdir():
        if path.is_file():
            (changed / path.name).write_bytes(path.read_bytes())
    assert cli("compress", f"run={runs['vqvae']}", f"input={source}", "output=x.sslz")[0] == 0
    assert cli("decompress", f"run={changed}", "input=x.sslz", "output=moved")[0] == 0  # a folder may be moved

    weights = load_file(changed / "model.safetensors")
    weights["code_counts"][0, 0] += 1
    save_file(weights, changed / "model.safetensors")
    write_digests(changed)
    assert "another model" in fault(cli, "decompress", f"run={changed}", "input=x.sslz", "output=out")
    weights["code_counts"].fill_(-1)
    save_file(weights, changed / "model.safetensors")
    write_digests(changed)
    assert "code_counts are damaged" in fault(cli, "compress", f"run={changed}", f"input={source}", "output=y.sslz")


def test_a_machine_that_rounds_differently_gets_a_warning(
    cli: Cli, runs: dict[str, Path], pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, source = f"run={runs['vqvae']}", pictures("in", 3)
    assert cli("compress", run, f"input={source}", "output=x.sslz")[0] == 0
    decode = VQVAE.decode_codes
    monkeypatch.setattr(
        VQVAE,
        "decode_codes",
        lambda self, codes: decode(self, codes) + torch.finfo(torch.float16).eps * 8,
    )
    code, _, err = cli("decompress", run, "input=x.sslz", "output=out")
    assert code == 0 and "some pixels differ" in err
    assert len(read(Path("out"))) == 3
