"""Checkpoint folders made wrong in a hundred ways: bytes, headers, JSON, files missing, and checksums that agree."""

import json
import random
import string
from pathlib import Path

from nmt.checkpoint.snapshot import FORMAT, files_in
from nmt.runtime.hashing import file_sha256

# Numbers and words that break readers.
ODD = (0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 1e308, -0.5, float("nan"), float("inf"), None, True, "", "F32")
ODD += ("F4", "I64", "../x", "/etc/passwd", "\n", "\u2028", "\ud800", "x" * 3000, [], {}, [[]], {"tensor": "gone"})
ODD += ({"tuple": 3}, [2**40, 2**40], [0, 2**62], [-1, -1], [0, 0], [1] * 100)


def mutate(folder: Path, generator: random.Random) -> None:
    """Changes a checkpoint folder, once to three times; in most cases with checksums made to agree again."""
    seal = generator.random() < 0.75
    for _ in range(generator.choice((1, 1, 2, 3))):
        name = generator.choice(sorted(files_in(folder)) or ["state.json"])
        path = folder / name
        if not path.is_file():
            continue
        data = path.read_bytes()
        match generator.randrange(4):
            case 0 if name.endswith(".json"):
                data = json_bytes(odd_json(json_or_none(data), generator))
            case 0 | 1 if name.endswith(".safetensors"):
                data = odd_header(data, generator)
            case 3 if generator.random() < 0.3:
                path.unlink()
                continue
            case _:
                data = odd_bytes(data, generator)
        path.write_bytes(data)
    if generator.random() < 0.05:
        (folder / generator.choice(("extra.bin", "tokenizer/extra", "model.safetensors.1"))).write_bytes(b"x")
    if seal and generator.random() < 0.95:
        listed = {name: size for name, size in files_in(folder).items() if name != "checksums.json"}
        files = {name: {"bytes": size, "sha256": file_sha256(folder / name)} for name, size in listed.items()}
        (folder / "checksums.json").write_text(json.dumps({"format": FORMAT, "files": files}))


def odd_bytes(data: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(data) + 1)
    to = min(len(data), at + generator.choice((1, 4, 8, 64)))
    noise = generator.choice((bytes(8), b"\xff" * 8, generator.randbytes(to - at or 1), b'{"', b"9" * 30, b"[" * 5000))
    cut, flipped = data[:at], bytearray(data or b"\0")
    flipped[at % len(flipped)] ^= 1 << generator.randrange(8)
    return generator.choice((bytes(flipped), cut, cut + noise + data[at:], cut + noise + data[to:], data + noise, b""))


def odd_header(data: bytes, generator: random.Random) -> bytes:
    """Another header before the same tensors, or another length of it."""
    length = int.from_bytes(data[:8], "little")
    if generator.random() < 0.2 or len(data) < 8 + length:
        length = generator.choice((0, 1, length + 1, length - 1, 1 << 20, 1 << 26, 1 << 40, (1 << 64) - 1))
        return (length % (1 << 64)).to_bytes(8, "little") + data[8:]
    header = json_bytes(odd_json(json_or_none(data[8 : 8 + length]), generator))
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def json_or_none(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def json_bytes(data: object) -> bytes:
    return json.dumps(data).encode()


def odd_json(data: object, generator: random.Random) -> object:
    """The same data with one value, key or entry changed, somewhere."""
    if isinstance(data, dict) and data and generator.random() < 0.9:
        key = generator.choice(sorted(data))
        match generator.randrange(8):
            case 0:
                return {other: value for other, value in data.items() if other != key}
            case 1:
                word = "".join(generator.choices(string.printable, k=generator.randrange(6)))
                return {(word if other == key else other): value for other, value in data.items()}
            case 2:
                return {**data, str(generator.choice(ODD)): data[key]}
            case _:
                return {**data, key: odd_json(data[key], generator)}
    if isinstance(data, list) and data and generator.random() < 0.7:
        at = generator.randrange(len(data))
        return [*data[:at], odd_json(data[at], generator), *data[at + generator.randrange(2) :]]
    return generator.choice(ODD)
