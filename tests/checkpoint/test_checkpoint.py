"""Checkpoints: exact round trips, every damage found and named, and a kill or a full disk at any moment survived."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nmt import checkpoint
from nmt.checkpoint import Snapshot
from nmt.checkpoint.snapshot import files_in
from nmt.runtime.hashing import file_sha256


class Words:
    """Stands in for a tokenizer."""

    def save(self, folder):
        (folder / "src_model.model").write_bytes(b"source pieces " * 20)
        (folder / "tgt_model.model").write_bytes(b"target pieces " * 20)


def snapshot(update=7, size=4):
    torch.manual_seed(update)
    embedding = torch.randn(size, size)
    model = {
        "encoder.embedding.weight": embedding,
        "decoder.embedding.weight": embedding,
        "decoder.bias": torch.randn(size).to(torch.bfloat16),
        "half": torch.randn(3).half(),
        "turned": torch.randn(2, 5).T,
        "count": torch.tensor(update),
        "none": torch.empty(0, 3),
    }
    training = {"optimizer.0.exp_avg": torch.randn(size, size), "random.torch": torch.get_rng_state()}
    state = {"update": update, "best": 0.1 + 0.2, "nan": float("inf"), "name": "é \u2028"}
    return Snapshot(model, training, state, {"model": {"size": size}, "data": ["a", None, True]})


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def refusal(action) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def reseal(folder: Path) -> None:
    """Makes the checksums those of the files as they are: what somebody does who wants to be believed."""
    sizes = {name: size for name, size in files_in(folder).items() if name != "checksums.json"}
    files = {name: {"bytes": size, "sha256": file_sha256(folder / name)} for name, size in sizes.items()}
    (folder / "checksums.json").write_text(json.dumps({"format": checkpoint.FORMAT, "files": files}))


@pytest.fixture
def folder(tmp_path) -> Path:
    checkpoint.write(tmp_path / "last", snapshot(), Words())
    return tmp_path / "last"


# Round trips


def test_what_is_written_is_read_bit_for_bit(folder):
    wrote, read = snapshot(), checkpoint.read(folder, weights_only=False)
    assert same(wrote.model, read.model)
    assert same(wrote.training, read.training)
    assert (read.state, read.config) == (wrote.state, wrote.config)


def test_a_checkpoint_is_a_folder_of_plain_files_and_nothing_is_left_beside_it(folder):
    assert set(files_in(folder)) == {
        "model.safetensors",
        "training.safetensors",
        "state.json",
        "config.json",
        "checksums.json",
        "tokenizer/src_model.model",
        "tokenizer/tgt_model.model",
    }
    assert os.listdir(folder.parent) == ["last"]
    assert not folder.is_symlink()


def test_the_weights_are_an_ordinary_safetensors_file(folder):
    assert torch.equal(load_file(folder / "model.safetensors")["turned"], snapshot().model["turned"])


def test_tied_tensors_are_written_once_and_come_back_as_one(folder):
    assert len(load_file(folder / "model.safetensors")) == len(snapshot().model) - 1
    model = checkpoint.read(folder, weights_only=False).model
    assert model["encoder.embedding.weight"] is model["decoder.embedding.weight"]


def test_views_of_one_storage_are_kept_apart(tmp_path):
    flat = torch.arange(10.0)
    model = {"first": flat[:4], "second": flat[4:], "overlapping": flat[2:6], "whole": flat}
    checkpoint.write(tmp_path / "c", snapshot()._replace(model=model), Words())
    assert same(model, checkpoint.read(tmp_path / "c", weights_only=False).model)


def test_the_weights_are_readable_without_the_training_file(folder):
    (folder / "training.safetensors").unlink()
    read = checkpoint.read(folder, weights_only=True)
    assert same(read.model, snapshot().model)
    assert read.training == {}
    assert "'training.safetensors' is missing" in refusal(lambda: checkpoint.read(folder, weights_only=False))


def test_what_was_read_does_not_depend_on_the_files(folder):
    model = checkpoint.read(folder, weights_only=False).model
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(0)
    assert same(model, snapshot().model)


def test_a_newer_checkpoint_takes_the_place_of_the_older(folder):
    checkpoint.write(folder, snapshot(8), Words())
    assert checkpoint.read_update(folder) == 8
    assert os.listdir(folder.parent) == ["last"]


def test_the_config_alone_can_be_read(folder):
    assert checkpoint.read_config(folder) == snapshot().config


# Hard links


def test_a_linked_checkpoint_takes_no_further_space_and_stays_when_the_first_is_replaced(folder):
    best = folder.with_name("best")
    checkpoint.hard_link(folder, best)
    assert (best / "model.safetensors").samefile(folder / "model.safetensors")
    checkpoint.write(folder, snapshot(8), Words())
    assert same(checkpoint.read(best, weights_only=False).model, snapshot(7).model)


def test_where_links_are_not_possible_a_checkpoint_is_copied(folder, monkeypatch):
    def refuse(*names):
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    checkpoint.hard_link(folder, folder.with_name("best"))
    checkpoint.verify(folder.with_name("best"))
    assert not (folder.with_name("best") / "state.json").samefile(folder / "state.json")


# Damage


def test_a_flipped_bit_in_any_file_is_found_and_the_file_named(folder):
    generator = random.Random(1)
    for name in files_in(folder):
        whole = (folder / name).read_bytes()
        for _ in range(12):
            at = generator.randrange(len(whole))
            flipped = bytearray(whole)
            flipped[at] ^= 1 << generator.randrange(8)
            (folder / name).write_bytes(flipped)
            message = refusal(lambda: checkpoint.read(folder, weights_only=False))
            assert Path(name).name in message or name == "checksums.json", message
            assert str(folder) in message
        (folder / name).write_bytes(whole)
    checkpoint.verify(folder)


def test_a_flipped_bit_anywhere_in_the_checksums_is_found(folder):
    path = folder / "checksums.json"
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        refusal(lambda: checkpoint.verify(folder))


def test_a_truncated_file_is_named(folder):
    for name in files_in(folder):
        whole = (folder / name).read_bytes()
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            (folder / name).write_bytes(whole[:length])
            assert name in refusal(lambda: checkpoint.read(folder, weights_only=False))
        (folder / name).write_bytes(whole)


def test_a_missing_file_is_named(folder):
    for name in files_in(folder):
        (folder / name).rename(folder.parent / "away")
        assert name in refusal(lambda: checkpoint.read(folder, weights_only=False))
        (folder.parent / "away").rename(folder / name)


def test_a_missing_folder_is_named(tmp_path):
    assert "no such checkpoint folder" in refusal(lambda: checkpoint.read(tmp_path / "gone", weights_only=True))


def test_a_file_that_does_not_belong_is_named_but_hidden_ones_are_left_alone(folder):
    (folder / ".DS_Store").write_text("x")
    checkpoint.verify(folder)
    (folder / "tokenizer" / "extra.py").write_text("x")
    assert "tokenizer/extra.py" in refusal(lambda: checkpoint.verify(folder))


def test_another_format_is_refused_with_both_versions(folder):
    path = folder / "checksums.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 3'))
    message = refusal(lambda: checkpoint.read(folder, weights_only=True))
    assert "'3'" in message
    assert "reads 2" in message


# Unfriendly files


def test_links_pipes_and_folders_are_refused_without_opening_them(folder):
    state = folder / "state.json"
    for make in (lambda: state.symlink_to("/etc/passwd"), lambda: os.mkfifo(state), state.mkdir):
        shutil.rmtree(state) if state.is_dir() else state.unlink()
        make()
        assert "not a plain file" in refusal(lambda: checkpoint.read(folder, weights_only=True))


def test_a_path_that_leads_out_of_the_folder_is_not_followed(folder):
    path = folder / "checksums.json"
    outside = folder.parent / "outside"
    outside.write_text("x")
    contents = json.loads(path.read_text())
    contents["files"]["../outside"] = {"bytes": 1, "sha256": file_sha256(outside)}
    path.write_text(json.dumps(contents))
    assert "'../outside' is missing" in refusal(lambda: checkpoint.read(folder, weights_only=True))


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"update":' * 100_000, '{"update": ' + "9" * 5000 + "}", "[]", "null", "", "\ufeff{}", '"\ud800"'],
    ids=["deep", "deeper", "digits", "list", "null", "empty", "bom", "surrogate"],
)
def test_json_that_is_not_ours_is_refused(folder, text):
    (folder / "state.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    reseal(folder)
    assert "state.json: damaged" in refusal(lambda: checkpoint.read(folder, weights_only=True))


def test_json_of_endless_size_is_refused_unread(folder):
    with (folder / "state.json").open("r+b") as file:
        file.truncate(1 << 35)  # a hole: takes no disk
    before = peak()
    listed = json.loads((folder / "checksums.json").read_text())
    listed["files"]["state.json"]["bytes"] = 1 << 35
    (folder / "checksums.json").write_text(json.dumps(listed))
    assert "larger than" in refusal(lambda: checkpoint.read(folder, weights_only=True))
    assert peak() - before < 64 << 20


@pytest.mark.parametrize("claim", [1 << 62, 1 << 31, 90 << 20, 0])
def test_a_header_of_absurd_size_is_refused_without_memory(folder, claim):
    path = folder / "model.safetensors"
    path.write_bytes(claim.to_bytes(8, "little") + path.read_bytes()[8:])
    reseal(folder)
    before = peak()
    assert "model.safetensors: damaged" in refusal(lambda: checkpoint.read(folder, weights_only=True))
    assert peak() - before < 64 << 20


def test_tensors_larger_than_the_file_are_refused_without_memory(folder):
    path = folder / "model.safetensors"
    header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    reseal(folder)
    before = peak()
    assert "model.safetensors: damaged" in refusal(lambda: checkpoint.read(folder, weights_only=True))
    assert peak() - before < 64 << 20


def test_ties_to_tensors_that_are_not_there_are_refused(folder):
    save_file({"w": torch.zeros(2)}, folder / "model.safetensors", metadata={"v": "gone"})
    reseal(folder)
    assert "ties 'v' to 'gone'" in refusal(lambda: checkpoint.read(folder, weights_only=True))


def peak() -> int:
    """The most memory this process has had, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


# Fit


def test_weights_that_fit_pass(folder):
    checkpoint.check_fit(folder, {name: tensor.to("meta") for name, tensor in snapshot().model.items()})


def test_weights_of_another_shape_type_or_name_are_refused_by_name(folder):
    model = snapshot().model
    for change, word in (
        ({"turned": torch.zeros(5, 3)}, "turned is (5, 2) torch.float32, and the model's is (5, 3)"),
        ({"half": torch.zeros(3)}, "half is (3,) torch.float16"),
        ({"further": torch.zeros(3)}, "has no further"),
    ):
        assert word in refusal(lambda change=change: checkpoint.check_fit(folder, model | change))
    assert "'turned', which the model has not" in refusal(
        lambda: checkpoint.check_fit(folder, {name: model[name] for name in model if name != "turned"})
    )


def test_a_damaged_file_is_called_damaged_rather_than_of_another_model(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"turned"', b'"tuned_"'))
    assert "checksum" in refusal(lambda: checkpoint.check_fit(folder, snapshot().model))


# Kills and full disks


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
import torch
from pathlib import Path
from nmt import checkpoint
from nmt.checkpoint import Snapshot
class Words:
    def save(self, folder):
        (folder / "m.model").write_bytes(b"x")
def snapshot(update, size):
    return Snapshot({"w": torch.full((size,), float(update))}, {"m": torch.full((size,), float(update))},
                    {"update": update}, {})
folder = Path(sys.argv[1])
"""


def writer(path: Path, body: str) -> subprocess.Popen:
    source = WRITER + textwrap.dedent(body)
    root = str(Path(checkpoint.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", source, str(path), root], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.process
def test_a_whole_checkpoint_is_there_whenever_the_writer_is_killed(tmp_path):
    # One process imports torch; each round is a fork of it, killed at a random moment of its writing.
    body = """
    import os, random, signal, time
    generator = random.Random(5)
    began = time.monotonic()
    for _ in range(3):
        checkpoint.write(folder / "last", snapshot(0, 5000), Words())
    window = 1.4 * (time.monotonic() - began)  # four times what one takes, on this machine, now
    last, seen, rounds = 0, set(), 0
    while rounds < 60 and time.monotonic() - began < 6:
        rounds += 1
        child = os.fork()
        if not child:
            try:
                checkpoint.recover(folder)
                assert all(not name.startswith(".") and not name.endswith(".old") for name in os.listdir(folder))
                for update in range(last + 1, last + 1000):
                    checkpoint.write(folder / "last", snapshot(update, 5000), Words())
                    checkpoint.hard_link(folder / "last", folder / "best")
            finally:
                os._exit(1)
        time.sleep(window * generator.random())
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        seen.update(name.replace(str(child), "PID") for name in os.listdir(folder))
        read = checkpoint.read(folder / "last", weights_only=False)
        update = read.state["update"]
        assert update >= last, (update, last)
        assert (read.model["w"] == update).all() and (read.training["m"] == update).all()
        last = update
    assert last > 0 and any("partial" in name for name in seen), (last, rounds, seen)
    print("survived", rounds, "kills and", last, "updates", sorted(seen))
    """
    process = writer(tmp_path, body)
    out, errors = process.communicate(timeout=300)
    assert out.startswith("survived"), errors


@pytest.mark.parametrize("moment", range(9))
def test_a_kill_at_each_step_of_replacing_leaves_a_whole_checkpoint(folder, moment, monkeypatch):
    class Killed(BaseException):
        pass

    count = 0

    def at_moment(original):
        def step(*arguments, **options):
            nonlocal count
            count += 1
            if count > moment:  # nothing works any more: a dead process clears nothing up either
                raise Killed
            return original(*arguments, **options)

        return step

    for owner, name in ((Path, "rename"), (shutil, "rmtree"), (Path, "mkdir")):
        monkeypatch.setattr(owner, name, at_moment(getattr(owner, name)))
    if moment < 8:
        with pytest.raises(Killed):
            checkpoint.write(folder, snapshot(8), Words())
    else:
        checkpoint.write(folder, snapshot(8), Words())
    monkeypatch.undo()
    update = checkpoint.read(folder, weights_only=False).state["update"]
    assert update in (7, 8)
    checkpoint.recover(folder.parent)
    assert os.listdir(folder.parent) == ["last"]
    assert checkpoint.read(folder, weights_only=False).state["update"] == update


@pytest.mark.slow
@pytest.mark.process
def test_a_reader_always_finds_a_whole_checkpoint_while_it_is_being_replaced(tmp_path):
    body = """
    import itertools, time
    for update in itertools.count():
        checkpoint.write(folder / "last", snapshot(update, 1000), Words())
        time.sleep(0.01)
    """
    process = writer(tmp_path, body)
    try:
        while not (tmp_path / "last").exists():
            assert process.poll() is None
            time.sleep(0.01)
        until, reads, updates = time.monotonic() + 2, 0, set()
        while time.monotonic() < until:
            read = checkpoint.read(tmp_path / "last", weights_only=False)
            assert (read.model["w"] == read.state["update"]).all()
            updates.add(read.state["update"])
            reads += 1
    finally:
        process.kill()
        process.communicate()
    assert reads > 10
    assert len(updates) > 5


def test_an_interrupted_write_leaves_nothing_of_itself(folder):
    class Stops:
        def save(self, folder):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(folder, snapshot(8), Stops())
    assert os.listdir(folder.parent) == ["last"]
    assert checkpoint.read_update(folder) == 7


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("limit", [100, 50_000, 399_000])
def test_a_file_size_limit_is_said_in_one_line_and_keeps_the_last_good_checkpoint(tmp_path, limit):
    body = f"""
    import os, resource
    checkpoint.write(folder / "last", snapshot(1, 1000), Words())
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
    try:
        checkpoint.write(folder / "last", snapshot(2, 100_000), Words())
    except OSError as error:
        print(str(error))
    assert checkpoint.read(folder / "last", weights_only=False).state["update"] == 1
    assert os.listdir(folder) == ["last"], os.listdir(folder)
    """
    out, errors = writer(tmp_path, body).communicate(timeout=300)
    assert out.count("\n") == 1, errors
    assert "could not be written" in out
    assert "too large" in out
    assert not errors


@pytest.mark.process
def test_a_full_disk_is_said_in_one_line_and_keeps_the_last_good_checkpoint(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small tmpfs: {mounted.stderr.decode().strip()}")
    try:
        checkpoint.write(tmp_path / "last", snapshot(1), Words())
        with pytest.raises(OSError, match="No space left") as error:
            checkpoint.write(tmp_path / "last", snapshot(2, size=600), Words())
        assert "\n" not in str(error.value)
        assert checkpoint.read(tmp_path / "last", weights_only=False).state["update"] == 1
        assert os.listdir(tmp_path) == ["last"]
        # The very last bytes: each size of the room left, around what a checkpoint takes.
        for room in range(0, 40):
            filler = tmp_path / "filler"
            free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
            filler.write_bytes(b"x" * max(0, free - room * 1024))
            with contextlib.suppress(OSError):
                checkpoint.write(tmp_path / "last", snapshot(2), Words())
            checkpoint.verify(tmp_path / "last")
            filler.unlink()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.slow
@pytest.mark.process
def test_a_hundred_megabytes_are_written_in_little_time_of_the_processor_and_little_memory(tmp_path):
    body = """
    import time
    def memory():
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
    one = snapshot(1, 12_500_000)
    before, began = memory(), time.process_time()
    checkpoint.write(folder / "last", one, Words())
    print(memory() - before, time.process_time() - began)
    """
    out, errors = writer(tmp_path, body).communicate(timeout=300)
    megabytes, seconds = map(float, out.split()) if out else pytest.fail(errors)
    assert megabytes < 30
    assert seconds < 2  # 0.2 s, on a machine that does nothing else; the disk's time comes on top


# Optimizers


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.8, 0.9)),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1),
    "tensor rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.1)),
    "adadelta": lambda p: torch.optim.Adadelta(p),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "groups": lambda p: torch.optim.Adam([{"params": p[:1], "lr": 0.3}, {"params": p[1:]}], lr=0.1),
}


def trained(make, steps=3):
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3, 2)), torch.nn.Parameter(torch.randn(4))]
    optimizer = make(parameters)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return parameters, optimizer


def through_disk(optimizer, path):
    tensors, packed = checkpoint.pack_optimizer(optimizer.state_dict())
    wrote = Snapshot({}, tensors, {"update": 1, "optimizer": packed}, {})
    checkpoint.write(path, wrote, Words())
    return checkpoint.read(path, weights_only=False)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_comes_back_bit_for_bit(name, tmp_path):
    parameters, optimizer = trained(OPTIMIZERS[name])
    read = through_disk(optimizer, tmp_path / "c")
    twins = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    restored = OPTIMIZERS[name](twins)
    unpacked = checkpoint.unpack_optimizer(read.training, read.state["optimizer"], restored)
    restored.load_state_dict(unpacked)
    before, after = optimizer.state_dict(), restored.state_dict()
    assert repr(before) == repr(after)
    for index, entry in before["state"].items():
        for word, value in entry.items():
            assert type(value) is type(after["state"][index][word])
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, after["state"][index][word])
    for parameter, twin in zip(parameters, twins, strict=True):
        parameter.grad = torch.randn_like(parameter)
        twin.grad = parameter.grad.clone()
    optimizer.step()
    restored.step()
    assert all(torch.equal(parameter, twin) for parameter, twin in zip(parameters, twins, strict=True))


@pytest.mark.parametrize("other", ["adadelta", "momentum", "groups"])
def test_the_state_of_another_optimizer_is_refused(other, tmp_path):
    _, optimizer = trained(OPTIMIZERS["adam"])
    read = through_disk(optimizer, tmp_path / "c")
    _, wrong = trained(OPTIMIZERS[other], steps=0)
    assert "optimizer state" in refusal(
        lambda: checkpoint.unpack_optimizer(read.training, read.state["optimizer"], wrong)
    )


def test_the_state_of_other_parameters_is_refused(tmp_path):
    _, optimizer = trained(OPTIMIZERS["adam"])
    tensors, packed = checkpoint.pack_optimizer(optimizer.state_dict())
    wrong = OPTIMIZERS["adam"]([torch.nn.Parameter(torch.zeros(3, 2)), torch.nn.Parameter(torch.zeros(5))])
    assert "parameter 1 is (4,), not (5,)" in refusal(lambda: checkpoint.unpack_optimizer(tensors, packed, wrong))
