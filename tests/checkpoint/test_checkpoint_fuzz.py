"""Mutated checkpoints give the truth or a ValueError of one line, in bounded memory; NMT_FUZZ=10000 tries so many."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nmt import checkpoint
from nmt.checkpoint import Snapshot
from nmt.checkpoint.snapshot import files_in
from tests.support.mutations import mutate, odd_bytes

COUNT = int(os.environ.get("NMT_FUZZ", "400"))
MOST_MEMORY = 200 << 20


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


@pytest.mark.slow
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


@pytest.mark.slow
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
