"""Seeded damage to valid files: bytes, JSON, the headers of safetensors, tables and archives."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

#: Where limits, signs and types change.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 255, 2**31, 2**63, -(2**63), 10**40, 0.5, -0.0, 1e-320, 1e308,
    float("nan"), float("inf"), "", "x", "-1", "nan", "../../x", "os:system", "\x1b]0;x\x07", "\ud800", "a\nb",
    [], {}, [[]], [0], ["x"], [None], {"": 0}, {"_target_": "antigravity.geohash"}, "x" * 5000, [0] * 3000,
)  # fmt: skip
_TEXTS = (
    b'"', b'""', b"\r", b"\n", b"\r\n", b"\0", b",", b";", b"\t", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe",
    b"\xe2\x80\xa8", b"#", b"'", b"\\", b" |$", b"=1+1", b"\x1b[2J", b"," * 5000, b"C" * 20000,
    b"[C+999999999]", b"nan", b"1e999", b"(" * 3000,
)  # fmt: skip


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes with a few bits, bytes or ranges changed, repeated, moved or cut off."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not content:
            break
        place = rng.randrange(min(len(content), rng.choice((16, 128, len(content)))))
        size = rng.choice((1, 1, 2, 4, 8, 64, 1000))
        match rng.randrange(7):
            case 0:
                content[place] ^= 1 << rng.randrange(8)
            case 1:
                content[place] = rng.choice(_EDGES)
            case 2:
                content[place : place + size] = rng.randbytes(size)
            case 3:
                del content[place : place + size]
            case 4:
                content[place:place] = content[place : place + size] * rng.choice((1, 2, 50))
            case 5:
                del content[rng.randrange(len(content)) :]
            case 6:  # lengths and offsets, in the widths and orders that headers have
                form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
                whole = struct.calcsize(form)
                content[place : place + whole] = struct.pack(
                    form, rng.choice((0, 1, 255, 256**whole - 1, 256**whole // 2))
                )
    return bytes(content)


def damaged_text(data: bytes, rng: random.Random) -> bytes:
    """A table or list with quotes, line breaks, marks and cells put in, or in another encoding."""
    if rng.random() < 0.2:
        return damaged(data, rng)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(len(data) + 1)
        data = data[:place] + rng.choice(_TEXTS) + data[place + rng.choice((0, 0, 1, 3)) :]
    if rng.random() < 0.2:
        return data.decode("latin-1").encode(
            rng.choice(("utf-16", "utf-16-le", "utf-32", "cp1252", "utf-8")), "replace"
        )
    return data


def damaged_json(value: Any, rng: random.Random) -> Any:
    """JSON with a value somewhere in it replaced, removed, renamed or moved; the given one stays as it is."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        _change(value, rng)
    return value


def _change(value: Any, rng: random.Random) -> None:
    node = value
    while True:  # down to some container, each level as likely as any
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = rng.choice(keys)
        if not isinstance(node[key], dict | list) or not node[key] or rng.random() < 0.15:
            break
        node = node[key]
    match rng.randrange(6):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[rng.choice((f"{key}x", "_target_", "", "\x1b[2J"))] = node.pop(key)
        case 2:
            node[key] = copy.deepcopy(node[rng.choice(keys)])
        case 3 | 4 if isinstance(node[key], int | float) and not isinstance(node[key], bool):
            number = node[key]
            node[key] = rng.choice((number + 1, -number, number * 10 ** rng.randrange(1, 10), str(number), [number]))
        case _:
            node[key] = copy.deepcopy(rng.choice(_VALUES))


def damaged_safetensors(data: bytes, rng: random.Random) -> bytes:
    """A file of tensors whose header says something else than what follows."""
    if rng.random() < 0.3:
        return damaged(data, rng)
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    name = rng.choice(list(header))
    match rng.randrange(5):
        case 0:
            header[name]["shape"] = rng.choice(([], [0], [-1], [2**40], [2**32, 2**32], [1] * 70, "x"))
        case 1:
            header[name]["dtype"] = rng.choice(("F64", "F16", "I8", "BOOL", "F8_E4M3", "X", None))
        case 2:
            header[name]["data_offsets"] = rng.choice(([0, 0], [0, 2**62], [5, 1], [-4, 0], [0, len(data)]))
        case 3:
            header[f"{name}x"] = header.pop(name)
        case 4:
            header = damaged_json(header, rng)
    content = json.dumps(header).encode()
    return (
        struct.pack("<Q", rng.choice((len(content),) * 6 + (0, 2**62, len(content) + 8))) + content + data[8 + length :]
    )


def damaged_archive(data: bytes, rng: random.Random) -> bytes:
    """An archive with a member damaged, renamed, doubled or missing; or damaged itself."""
    if rng.random() < 0.4:
        return damaged(data, rng)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        chosen = rng.choice(source.namelist())
        for name in source.namelist():
            content = source.read(name)
            if name == chosen:
                match rng.randrange(4):
                    case 0:
                        continue
                    case 1:
                        name = rng.choice(
                            ("../x.png", "/etc/x.png", "a\\..\\x.png", "\x1b[2J.png", "x" * 300, "con.npy")
                        )
                    case _:
                        content = damaged(content, rng)
            archive.writestr(name, content)
            if name == chosen and rng.random() < 0.2:
                archive.writestr(f"{name}2", content)
    return target.getvalue()


Mutation = Callable[[bytes, random.Random], bytes]


def cases(seeds: Mapping[str, tuple[bytes, Mutation]], count: int, seed: int = 0) -> list[tuple[str, bytes]]:
    """So many damaged files of each kind, by a name that says how to make each again."""
    return [
        (f"{name}-{seed}-{number}", mutate(data, random.Random(f"{name}-{seed}-{number}")))
        for name, (data, mutate) in seeds.items()
        for number in range(count)
    ]
