"""Every verb that computes refuses a device that is not there, and never takes another in its place."""

import pytest

from molgen_cli.main import main


@pytest.mark.parametrize("device", ["vulkan", "cuda:99"])
@pytest.mark.parametrize(
    "words",
    [
        ["generate"],
        ["score", "{file}"],
        ["encode", "{file}", "--output", "{out}"],
        ["train", "--data", "{file}", "--output", "{out}"],
        ["evaluate", "{file}", "--reference", "{file}"],
    ],
    ids=lambda words: words[0],
)
def test_a_device_that_is_not_there_is_one_line(words, device, tmp_path, capsys):
    file, out = tmp_path / "a.smi", tmp_path / "out.npz"
    file.write_text("CCO\nCCN\n")
    assert main([word.format(file=file, out=out) for word in words] + ["--device", device]) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith(f"molgen: there is no device {device} here")
    assert not printed.out
    assert not out.exists()
