"""Mutated checkpoints give the truth or a ValueError of one line, in bounded memory; NMT_FUZZ=10000 tries so many."""

import json
import os
import random
import shutil
import string
from collections.abc import Callable
from pathlib import Path

import torch

from nmt.training import checkpoint
from nmt.training.checkpoint import Snapshot
from nmt.training.checkpoint.snapshot import FORMAT, digest, files_in

COUNT = int(os.environ.get("NMT_FUZZ", "400"))
MOST_MEMORY = 200 << 20

# Numbers and words that break readers.
ODD = (0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 1e308, -0.5, float("nan"), float("inf"), None, True, "", "F32")
ODD += ("F4", "I64", "../x", "/etc/passwd", "\n", "\u2028", "\ud800", "x" * 3000, [], {}, [[]], {"tensor": "gone"})
ODD += ({"tuple": 3}, [2**40, 2**40], [0, 2**62], [-1, -1], [0, 0], [1] * 100)


class Words:
    def save(self, folder):
        (folder / "src_model.model").write_bytes(bytes(range(256)))


def parameters():
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(3, 2)), torch.nn.Parameter(torch.randn(4))]


def optimizer():
    return torch.optim.Adam(parameters(), lr=0.1)


def original(folder: Path) -> Snapshot:
    """Writes a small checkpoint of the kind that training writes."""
    learned = parameters()
    adam = torch.optim.Adam(learned, lr=0.1)
    for weight in learned:
        weight.grad = torch.ones_like(weight)
    adam.step()
    tensors, packed = checkpoint.pack_optimizer(adam.state_dict())
    model = {"embedding": learned[0].detach(), "output": learned[0].detach(), "bias": learned[1].detach()}
    state = {"update": 3, "epoch": 0, "best": 1.5, "optimizer": packed}
    wrote = Snapshot(model, {**tensors, "random": torch.get_rng_state()[:64]}, state, {"model": {"size": 4, "x": [1]}})
    checkpoint.write(folder, wrote, Words())
    return wrote


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
        files = {name: {"bytes": size, "sha256": digest(folder / name)} for name, size in listed.items()}
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


def use(folder: Path, fits: dict[str, torch.Tensor]) -> Snapshot:
    """All that resuming does with a checkpoint."""
    checkpoint.read_config(folder)
    checkpoint.check_fit(folder, fits)
    read = checkpoint.read(folder, weights_only=False)
    packed = read.state.get("optimizer")
    adam = optimizer()
    adam.load_state_dict(checkpoint.unpack_optimizer(read.training, packed, adam))
    for parameter in adam.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    adam.step()
    return read


def weights(folder: Path) -> Snapshot:
    """What translating does."""
    return checkpoint.read(folder, weights_only=True)


def outcome(action: Callable, *arguments: object) -> Snapshot | Exception:
    try:
        return action(*arguments)
    except Exception as error:
        return error


def test_a_mutated_checkpoint_gives_the_truth_or_one_line(tmp_path):
    wrote = original(tmp_path / "whole")
    fits = {name: tensor.to("meta") for name, tensor in wrote.model.items()}
    use(tmp_path / "whole", fits)
    before, refused = peak(), 0
    for seed in range(COUNT):
        mutant = tmp_path / "mutant"
        shutil.copytree(tmp_path / "whole", mutant)
        mutate(mutant, random.Random(seed))
        for result in (outcome(use, mutant, fits), outcome(weights, mutant)):
            if isinstance(result, Snapshot):
                assert all(tensor.numel() < 1000 for tensor in result.model.values()), seed
                continue
            refused += 1
            assert type(result) is ValueError, (seed, repr(result))
            assert len(str(result).splitlines()) == 1, (seed, result)
            assert len(str(result).encode()) < 1000, (seed, result)
        shutil.rmtree(mutant)
    assert refused > COUNT / 2
    assert peak() - before < MOST_MEMORY


def test_a_mutant_that_passes_unsealed_is_the_original(tmp_path):
    wrote = original(tmp_path / "whole")
    for seed in range(COUNT // 4):
        mutant = tmp_path / "mutant"
        shutil.copytree(tmp_path / "whole", mutant)
        generator = random.Random(seed)
        name = generator.choice(sorted(files_in(mutant)))
        (mutant / name).write_bytes(odd_bytes((mutant / name).read_bytes(), generator))
        try:
            read = checkpoint.read(mutant, weights_only=False)
        except ValueError:
            pass
        else:
            for found, put in ((read.model, wrote.model), (read.training, wrote.training)):
                assert found.keys() == put.keys()
                assert all(torch.equal(found[key], put[key]) for key in put)
            assert (read.state, read.config) == (wrote.state, wrote.config)
        shutil.rmtree(mutant)


def test_what_the_mutations_reach_is_the_readers_and_not_only_the_checksums(tmp_path):
    original(tmp_path / "whole")
    messages = set()
    for seed in range(150):
        mutant = tmp_path / "mutant"
        shutil.copytree(tmp_path / "whole", mutant)
        mutate(mutant, random.Random(seed))
        try:
            use(mutant, {name: tensor.to("meta") for name, tensor in original_model().items()})
        except ValueError as error:
            messages.add(str(error))
        shutil.rmtree(mutant)
    for word in ("optimizer state", "not JSON", "model.safetensors", "training.safetensors", "checksum", "missing"):
        assert any(word in message for message in messages), word


def original_model() -> dict[str, torch.Tensor]:
    first, second = parameters()
    return {"embedding": first, "output": first, "bias": second}


def peak() -> int:
    """The most memory this process has had, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
