"""The energy family from the command line: over a base whose folder is gone, and what is refused."""

import csv

import pytest

from molgen_cli.main import main

GOOD = [f"{'C' * (k // 2 + 1)}{'NO'[k % 2]}" for k in range(24)]
SHORT = ["training.steps=3", "training.batch_size=8", "training.check_every=3", "training.validation=0.1", "-q"]
SMALL = ["backbone.width=16", "backbone.layers=1", "backbone.heads=2"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    path.write_text("smiles\n" + "\n".join(GOOD))
    return str(path)


@pytest.fixture(scope="module")
def base(file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "base"
    tiny = ["backbone.width=8", "backbone.layers=1", "backbone.embedding=4", "encoder.max_length=30"]
    assert main(["train", "--data", file, *tiny, *SHORT, "--output", str(folder)]) == 0
    return folder


def test_a_residual_energy_is_trained_generates_and_scores_without_the_folder_of_its_base(file, base, tmp_path, capsys):
    copy = base.rename(tmp_path / "base")
    run = ["train", "family=energy", f"family.base={copy}", "--data", file, *SMALL, *SHORT]
    try:
        assert main([*run, "--output", str(tmp_path / "run")]) == 0
        assert main([*run, "encoder=molecules.selfies", "--output", str(tmp_path / "other")]) == 2
        assert "family.base is a model of molecules.smiles, not of molecules.selfies" in capsys.readouterr().err
        assert main([*run, "encoder.max_length=31", "--output", str(tmp_path / "other")]) == 2
        assert "encoder.max_length=30, not 31" in capsys.readouterr().err
    finally:
        copy.rename(base)
    model, out = ["--model", str(tmp_path / "run")], tmp_path / "drawn.csv"
    generate = ["generate", *model, "-n", "6", "--workers", "1", "--properties", "none", "-q", "-o", str(out)]
    assert main([*generate, "--option", "proposals=4", "--prefix", "CC"]) == 0
    with out.open(newline="") as stream:
        assert all(row["as_generated"].startswith("CC") for row in csv.DictReader(stream))
    assert main(["score", *model, file, "--option", "draws=64", "-q", "-o", str(out), "--overwrite"]) == 0
    with out.open(newline="") as stream:
        assert {row["log_density_kind"] for row in csv.DictReader(stream)} == {"estimate"}


def test_chains_are_trained_stopped_annealed_and_tuned(file, base, tmp_path, capsys):
    """With samples of another model to start from, which lie in the checkpoint as well."""
    copy, out = base.rename(tmp_path / "base"), tmp_path / "found.csv"
    run = ["train", "family=energy", "family.variant=contrastive", f"family.start={copy}", "family.chain_steps=2"]
    run += ["family.steps=3", "--data", file, *SMALL, *SHORT, "--output", str(tmp_path / "run")]
    try:
        assert main(run) == 0
        assert main([*run, "training.steps=5", "--resume"]) == 0
    finally:
        copy.rename(base)
    model = ["--model", str(tmp_path / "run")]
    generate = ["generate", *model, "-n", "4", "--workers", "1", "--properties", "none", "-q", "-o", str(out)]
    assert main([*generate, "--prefix", "CC"]) == 0
    with out.open(newline="") as stream:
        assert all(row["as_generated"].startswith("CC") for row in csv.DictReader(stream) if row["as_generated"])
    for options, kind in (([], "unnormalised"), (["--option", "annealing=2", "--option", "chains=3"], "estimate")):
        assert main(["score", *model, file, *options, "-q", "-o", str(out), "--overwrite"]) == 0
        with out.open(newline="") as stream:
            assert {row["log_density_kind"] for row in csv.DictReader(stream)} == {kind}
    tune = ["train", "--from", str(tmp_path / "run"), "--data", file, "conditions=[mw]", *SHORT]
    assert main([*tune, "--output", str(tmp_path / "tuned")]) == 0
    assert (
        main(["generate", "--model", str(tmp_path / "tuned"), *generate[3:], "--overwrite", "--condition", "mw=60"])
        == 0
    )
    capsys.readouterr()
    assert main(["encode", *model, file, "-o", str(tmp_path / "latents.npz")]) == 2
    assert "latent" in capsys.readouterr().err


REFUSED = [
    (["family=energy"], "type family.base=RUN"),
    (["family=energy", "family.base=nowhere/at-all"], "family.base: nowhere/at-all holds no molgen model"),
    (["+experiment=qm9_energy"], "type family.base=RUN"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_cannot_be_trained_is_said_in_one_line(arguments, message, file, tmp_path, capsys):
    assert main(["train", *arguments, "--data", file, "--output", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
