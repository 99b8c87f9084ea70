"""Users' sounds: folders, archives, tables and single files, in and out."""

import base64
import io
import zipfile

import numpy as np
import pytest

from molgen.domain import Invalid
from molgen.errors import MolgenError, UsageError
from molgen_plugins.audio.domain import Audio
from molgen_plugins.audio.examples import examples, tone
from molgen_plugins.audio.io import files
from molgen_plugins.audio.sound import Sound, canonical, encoded, key

ROWS = [{"audio": item, "name": f"s{number}"} for number, item in enumerate(examples())]


@pytest.mark.parametrize("target", ["sounds", "sounds.zip", "sounds.csv", "sounds.csv.gz"])
def test_sounds_come_back_from_what_is_written(tmp_path, target):
    assert files.write(ROWS, tmp_path / target) == len(ROWS)
    for row, record in zip(ROWS, files.read(tmp_path / target), strict=True):
        assert key(canonical(record.item)) == key(row["audio"])
        assert record.columns == {"name": row["name"]}
    assert files.recognises(tmp_path / target)


@pytest.mark.parametrize(("format", "magic"), [("wav", b"RIFF"), ("flac", b"fLaC"), ("ogg", b"OggS")])
def test_a_format_is_a_folder_of_such_files(tmp_path, format, magic):
    for _ in range(2):  # the second time replaces what the first wrote
        files.write(ROWS[:2], tmp_path / "out", format=format)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"000000.{format}",
        f"000001.{format}",
        "index.csv",
    ]
    assert (tmp_path / "out" / f"000000.{format}").read_bytes().startswith(magic)
    assert len(list(files.read(tmp_path / "out"))) == 2


def test_rows_without_a_sound_keep_their_place(tmp_path):
    files.write([{"audio": None, "why": "none"}, {"audio": tone(99, 50), "why": ""}], tmp_path / "out")
    records = list(files.read(tmp_path / "out"))
    assert records[0].item == Invalid("there is no sound in this row")
    assert len(canonical(records[1].item).samples) == 50


def test_a_folder_is_read_in_the_order_of_its_paths_with_labels(tmp_path):
    for name in ("b/2.flac", "a/1.WAV", "a/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(tone(100, 60), "FLAC" if name.endswith("flac") else "WAV"))
    records = list(files.read(tmp_path))
    assert [record.columns for record in records] == [
        {"file": "a/1.WAV", "label": "a"},
        {"file": "b/2.flac", "label": "b"},
    ]
    assert not any(isinstance(canonical(record.item), Invalid) for record in records)


def test_single_files_and_streams_are_read(tmp_path):
    item = tone(150, 80)
    (tmp_path / "one.flac").write_bytes(encoded(item, "FLAC"))
    for source, format in ((tmp_path / "one.flac", None), (io.BytesIO(encoded(item)), "wav")):
        (record,) = files.read(source, format=format)
        assert key(canonical(record.item)) == key(item)
    stream = io.BytesIO()
    files.write(ROWS[:1], stream, format="folder")
    assert zipfile.is_zipfile(stream)


def test_a_table_may_name_files_and_damage_is_one_bad_row(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(tone(100, 40)))
    uri = f"data:audio/wav;base64,{base64.b64encode(encoded(tone(120, 40))).decode()}"
    damaged = '"data:audio/wav;base64,###"'
    (tmp_path / "list.csv").write_text(f'clip,text\na.wav,yes\n"{uri}",yes\n{damaged},no\n../a.wav,no\n')
    records = list(files.read(tmp_path / "list.csv"))
    assert [isinstance(canonical(r.item) if isinstance(r.item, bytes) else r.item, Invalid) for r in records] == [
        record.columns["text"] == "no" for record in records
    ]


def test_what_cannot_be_read_or_written_says_why(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.zip").write_bytes(b"PK no archive")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for name, said in (
        ("empty", "holds no sound"),
        ("x.zip", "no whole zip archive"),
        ("t.csv", "no column of sounds among a, b"),
        ("none.wav", "No such file"),
        ("t.mid", "No such file"),
    ):
        with pytest.raises(MolgenError, match=said):
            list(files.read(tmp_path / name))
    for name in ("x.wav", "x.mp3", "x.smi"):
        with pytest.raises(UsageError, match="sounds are not written as"):
            files.write(ROWS, tmp_path / name)
    with pytest.raises(UsageError, match="need the column audio"):
        files.write([{"name": "x"}], tmp_path / "out")
    with pytest.raises(UsageError, match="is no sound"):
        files.write([{"audio": Sound(np.zeros(3), 8000)}], tmp_path / "out")
    (tmp_path / "empty" / "mine.txt").write_text("")
    with pytest.raises(UsageError, match="not written here"):
        files.write(ROWS, tmp_path / "empty")


def test_archives_of_pictures_are_not_taken_for_sounds(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("a.png", b"")
    (tmp_path / "i.csv").write_text("image\n")
    assert not files.recognises(tmp_path / "p.zip")
    assert not files.recognises(tmp_path / "i.csv")
    assert not Audio.recognises(tmp_path / "missing.wav")
