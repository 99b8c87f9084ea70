"""The Debian package of Mandarin syllables on a small package of the same form."""

import io
import lzma
import os
import tarfile
from dataclasses import replace

import pytest

from molgen.errors import MolgenError
from molgen_datasets import deb
from molgen_datasets.cache import Pin
from molgen_datasets.source import split_of
from molgen_datasets.sources import gcin_voice
from molgen_datasets.sources.gcin_voice import PACKAGE, SPEAKERS, GcinVoice

SAID = ("ㄅㄚ", "ㄅㄚ2", "ㄅㄚ4", "ㄇㄛ1", "ㄒㄧ3", "ㄕ", "ㄧㄡ3", "ㄋㄧ3", "ㄏㄠ3")


def tar(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return lzma.compress(stream.getvalue())


def package(files, members=("debian-binary", "control.tar.xz", "data.tar.xz")):
    content = b"!<arch>\n"
    for name in members:
        data = tar(files) if name == "data.tar.xz" else b"odd" if name == "debian-binary" else b""
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    return content


FILES = {
    "usr/share/doc/gcin-voice/copyright": b"see there",
    **{f"usr/share/gcin-voice/ogg/{said}/{name}": f"{said} {name}".encode() for said in SAID for name in SPEAKERS},
    "usr/share/gcin-voice/ogg/ㄅㄚ/7.ogg": b"nobody",
}


@pytest.fixture
def pinned(monkeypatch, pin):
    content = package(FILES)
    monkeypatch.setattr(gcin_voice, "PACKAGE", replace(PACKAGE, pin=pin(content)))
    monkeypatch.setattr(GcinVoice, "files", {"gcin-voice.deb": pin(content)})
    return content


def test_recordings_have_their_syllable_tone_and_speaker(pinned, mirror):
    (mirror / PACKAGE.filename).write_bytes(pinned)
    found = {}
    for split in GcinVoice.splits:
        for record in GcinVoice().records(split):
            assert split_of(record.columns["syllable"]) == split
            assert all(record.columns[name] in known for name, known in GcinVoice().classes(split).items())
            found[record.item.decode()] = record.columns
    assert len(found) == len(SAID) * len(SPEAKERS)
    assert found["ㄅㄚ2 3.ogg"] == {"syllable": "ㄅㄚ", "tone": "2", "speaker": "liu"}
    assert found["ㄕ 5.ogg"] == {"syllable": "ㄕ", "tone": "0", "speaker": "chu"}
    assert list(GcinVoice().items("train")) == [record.item for record in GcinVoice().records("train")]


def test_digests_are_stable():
    assert GcinVoice().digest("train") == "b2cd690b4b21c932db23c2f55608fcae0cebb4842ba23f983d03ca4bafa6ec9c"
    assert sum(GcinVoice.splits.values()) == 2358


def test_apt_get_is_asked_for_the_very_version(pinned, tmp_path, monkeypatch):
    (tmp_path / "package").write_bytes(pinned)
    command = tmp_path / "bin" / "apt-get"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked; cp {tmp_path}/package ./x.deb\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    reports = []
    folder = GcinVoice().fetch(lambda done, total: reports.append((done, total)))
    assert (folder / "gcin-voice.deb").read_bytes() == pinned
    assert (tmp_path / "asked").read_text() == "download gcin-voice=0~20170223-3\n"
    assert reports == [(0, len(pinned)), (len(pinned), len(pinned))]
    assert [path.name for path in folder.iterdir()] == ["gcin-voice.deb"]


def test_without_apt_get_or_the_package_it_says_what_to_put_where(pinned, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MolgenError, match=r"this system lacks: put gcin-voice_0~20170223-3_all.deb \("):
        GcinVoice().fetch()
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package'\nexit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    with pytest.raises(MolgenError, match=r"apt-get cannot download .* \(Unable to locate package\): put"):
        GcinVoice().fetch()


@pytest.mark.parametrize(
    "content",
    [b"", b"no package", package(FILES, ("debian-binary",)), package(FILES)[:-40], b"!<arch>\n" + b"x" * 60],
    ids=["empty", "other", "no data", "cut off", "no length"],
)
def test_a_damaged_package_says_so(content, tmp_path):
    (tmp_path / "a.deb").write_bytes(content)
    with pytest.raises(MolgenError, match="is damaged"):
        list(deb.members(tmp_path / "a.deb"))


def test_a_package_unpacks_to_no_more_than_there_can_be(tmp_path):
    (tmp_path / "a.deb").write_bytes(package({"zeros": bytes(2 << 20)}))
    with pytest.raises(MolgenError, match="more than there can be"):
        list(deb.members(tmp_path / "a.deb"))


def test_another_package_is_refused(pinned, mirror, cache):
    (mirror / PACKAGE.filename).write_bytes(pinned + b"x")
    with pytest.raises(MolgenError, match="is not the file that is needed"):
        GcinVoice().fetch()
    assert PACKAGE.pin == Pin(7_740_240, PACKAGE.pin.sha256)
