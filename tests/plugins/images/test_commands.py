"""A part of a picture is drawn anew by the command, and the rest stays."""

import numpy as np

from molgen_cli.main import main
from molgen_plugins.images.io import files
from molgen_plugins.images.raster import canonical


def test_a_box_of_a_picture_is_filled_in(tmp_path):
    pictures = [np.full((4, 6), 40 * k, np.uint8) for k in range(5)]
    files.write([{"image": picture} for picture in pictures], tmp_path / "pictures")
    small = ["backbone=unet", "backbone.width=8", "backbone.levels=1", "backbone.heads=0", "training.batch_size=4"]
    run, out = str(tmp_path / "run"), tmp_path / "out"
    train = ["train", "--data", str(tmp_path / "pictures"), "--output", run, "family=diffusion", "training.steps=2"]
    assert main([*train, *small, "training.validation=0", "--quiet"]) == 0
    known = next((tmp_path / "pictures").glob("*3.png"))
    box = ["--known", str(known), "--fill", "row=1:3", "--fill", "column=2:5", "--option", "steps=2"]
    common = ["--count", "2", "--seed", "1", "--workers", "1", "--quiet", "--output", str(out)]
    assert main(["generate", "--model", run, *box, *common]) == 0
    drawn = np.stack([canonical(record.item) for record in files.read(out)])
    inside = np.zeros((4, 6), bool)
    inside[1:3, 2:5] = True
    assert (drawn[:, ~inside] == 120).all()
    assert (drawn[:, inside] != 120).mean() > 0.8
