"""The commands on folders of sounds: from recordings to a model, its samples, their figures and a page that plays."""

import csv
import json

import numpy as np
import pytest

from molgen_cli.main import main
from molgen_plugins.audio.examples import tone
from molgen_plugins.audio.io import files
from molgen_plugins.audio.sound import canonical, key


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty short tones, high and low, and the run of a model of them."""
    folder = tmp_path_factory.mktemp("sounds")
    rows = [
        {"audio": tone(300 + 20 * k if k % 2 else 100 + 5 * k, 60 + k % 7), "pitch": "high" if k % 2 else "low"}
        for k in range(40)
    ]
    files.write(rows, folder / "tones")
    run(folder, "train", "--data tones --output run encoder=audio.mulaw backbone=wavenet")
    (folder / "begin.wav").write_bytes(next(files.read(folder / "tones")).item)
    return folder


SMALL = ("backbone.width=8", "backbone.levels=3", "training.steps=6", "training.batch_size=8", "conditions=[pitch]")


PATHS = {"tones", "run", "drawn", "drawn.svg", "scored.csv", "page.html", "figures.json", "more", "begin.wav"}


def run(folder, verb, *arguments):
    words = " ".join(arguments).split()
    paths = [str(folder / word) if word in PATHS else word for word in words]
    assert main([verb, *paths, *(SMALL if verb == "train" else ()), "--quiet"]) == 0


def test_sounds_are_drawn_scored_and_judged(folder):
    common = "--model run --seed 1 --workers 1"
    run(folder, "generate", common, "--count 6 --output drawn --draw drawn.svg --condition pitch=high")
    records = list(files.read(folder / "drawn"))
    assert len(records) == 6
    assert all(1 <= len(canonical(record.item).samples) <= 99 for record in records)
    assert {record.columns["log_density_kind"] for record in records} == {"exact"}
    assert float(records[0].columns["duration"]) == pytest.approx(len(canonical(records[0].item).samples) / 8000)
    assert "<path" in (folder / "drawn.svg").read_text()
    run(folder, "score", "--model run tones --output scored.csv --workers 1")
    with (folder / "scored.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 40
    assert all(np.isfinite(float(row["log_density"])) for row in rows)
    nats = -sum(float(row["log_density"]) for row in rows)
    samples = sum(8000 * float(row["duration"]) for row in rows)
    record = json.loads((folder / "scored.csv.run.json").read_text())
    assert record["bits_per_element"] == pytest.approx(nats / samples / np.log(2), rel=1e-5)
    compared = "--domain audio --reference tones --metrics spectrum --workers 1"
    run(folder, "evaluate", "drawn", compared, "--report page.html --output figures.json")
    page = (folder / "page.html").read_text()
    assert page.count("<audio ") >= 6
    assert "data:audio/wav;base64," in page
    assert "data:image/svg+xml," in page
    assert json.loads((folder / "figures.json").read_text())


def test_a_file_says_how_samples_begin(folder):
    begin = canonical(next(files.read(folder / "tones")).item)
    run(folder, "generate", "--model run --count 2 --prefix begin.wav --output more --seed 0 --workers 1 --overwrite")
    for record in files.read(folder / "more"):
        found = canonical(record.item)
        assert len(found.samples) >= len(begin.samples)
        assert np.abs(found.values()[: len(begin.samples)] - begin.values()).max() < 0.02
    assert len({key(canonical(record.item)) for record in files.read(folder / "more")}) == 2


def test_a_sound_goes_on_from_a_time(folder):
    """What lies after 5 ms, 40 samples, is drawn anew, to the end or to 10 ms."""
    begin = canonical(next(files.read(folder / "tones")).item)
    common = "--model run --count 2 --known begin.wav --seed 0 --workers 1 --overwrite --output more"
    run(folder, "generate", common, "--fill time=0.005:")
    free = [canonical(record.item) for record in files.read(folder / "more")]
    run(folder, "generate", common, "--fill time=0.005:0.01")
    stated = [canonical(record.item) for record in files.read(folder / "more")]
    assert {len(sound.samples) for sound in stated} == {80}
    for sound in free + stated:
        assert np.abs(sound.values()[:40] - begin.values()[:40]).max() < 0.02
    assert np.abs(stated[0].values()[40:] - stated[1].values()[40:]).max() > 0.05


def test_what_cannot_be_filled_in_is_one_line(folder, capfd):
    common = ["generate", "--model", str(folder / "run"), "--count", "1", "--workers", "1", "-q"]
    known = ["--known", str(folder / "begin.wav")]
    for arguments, words in (
        ([*known, "--fill", "time=0.002:0.003"], "not parts behind a gap"),
        ([*known, "--fill", "frequency=2000:"], "no direction 'frequency' to fill in along; known: time (seconds)"),
        ([*known, "--fill", "time=2"], "is not NAME=FROM:TO with numbers, such as time=0.2:0.3"),
        ([*known, "--fill", "time=nan:1"], "is not NAME=FROM:TO with numbers"),
        (known, "--known and --fill belong together"),
        (["--fill", "time=0.1:"], "--known and --fill belong together"),
        (["--known", str(folder / "none.wav"), "--fill", "time=0.1:"], "cannot keep a part of the item"),
    ):
        assert main([*common, *arguments]) == 2
        captured = capfd.readouterr()
        assert words in captured.err
        assert len(captured.err.splitlines()) == 1


def test_sounds_have_latents_and_ways_between_them(folder):
    settings = "encoder=audio.spectrogram encoder.length=64 encoder.window=16 encoder.hop=8 encoder.variable=false"
    network = "backbone=unet backbone.width=8 backbone.levels=2 backbone.heads=0 family=vae training.steps=2"
    fit = "encoder.fit=true training.batch_size=8"
    assert main(["train", "--data", str(folder / "tones"), "--output", str(folder / "vae"), "--quiet",
                 *f"{settings} {fit} {network}".split()]) == 0  # fmt: skip
    begin = str(folder / "tones" / "000003.wav")
    end = str(folder / "tones" / "000004.wav")
    common = ["--model", str(folder / "vae"), "--quiet", "--workers", "1", "--output"]
    assert main(["encode", str(folder / "tones"), *common, str(folder / "latents.npz")]) == 0
    assert main(["interpolate", begin, end, "--steps", "3", *common, str(folder / "way")]) == 0
    assert main(["reconstruct", str(folder / "tones"), *common, str(folder / "again.zip")]) in (0, 3)
    assert len(list(files.read(folder / "way"))) == 3
    assert len(list(files.read(folder / "again.zip"))) == 40


def test_long_sounds_have_dilated_convolutions_where_no_network_is_named(tmp_path):
    rows = [{"audio": tone(300 + k, 2000)} for k in range(2)]
    files.write(rows, tmp_path / "long")
    made = ["train", "--data", str(tmp_path / "long"), "--output", str(tmp_path / "run"), "--quiet", "training.steps=1"]
    assert main([*made, "training.validation=0", "training.check_every=9"]) == 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())["model"]
    assert "batch_size: 21\n" in (tmp_path / "run" / "config.yaml").read_text()  # 65,536 samples at a time
    assert config["encoder"]["name"] == "audio.mulaw"
    assert config["backbone"]["name"] == "wavenet"
    assert config["backbone"]["settings"]["levels"] == 7  # 3,000 samples, and whether each is the last
