"""Every path of every command: expanded, fit to be kept, and no output over an input or another output."""

import os
from itertools import product
from pathlib import Path

import pytest

from nmt.config.paths import Use, check_paths, named_paths, prepare_paths, text_keys
from nmt.config.schema import (
    AlignConfig,
    AverageConfig,
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    SaliencyConfig,
    ServeConfig,
    TrainConfig,
    TranslateConfig,
)
from nmt.training.options import TrainerOptions

COMMANDS = {
    "train": lambda: TrainConfig(trainer=TrainerOptions(max_updates=1)),
    "evaluate": EvaluateConfig,
    "translate": TranslateConfig,
    "align": lambda: AlignConfig(src="s", tgt="t"),
    "saliency": lambda: SaliencyConfig(src="s"),
    "compare": lambda: CompareConfig(runs=["r"]),
    "serve": lambda: ServeConfig(checkpoint="r"),
    "average": lambda: AverageConfig(checkpoint="r", out="o"),
    "export": lambda: ExportConfig(checkpoint="r", out="o"),
}
LISTS = ("runs", "data.train", "guided_alignment.links")


def use_of(config, key: str):
    section, name = owner(config, key)
    return type(section).__dataclass_fields__[name].metadata.get("path")


def owner(config, key: str):
    *sections, name = key.split(".")
    for each in sections:
        config = getattr(config, each)
    return config, name


def put(config, key: str, value: str) -> None:
    section, name = owner(config, key)
    setattr(section, name, [value] if key in LISTS and config.__class__ is not EvaluateConfig else value)


def keys(command: str) -> list[str]:
    config = COMMANDS[command]()
    return [key for key in text_keys(type(config)) if use_of(config, key)]


def couples() -> list[tuple[str, str, str]]:
    found = []
    for command in COMMANDS:
        config = COMMANDS[command]()
        outputs = [key for key in keys(command) if use_of(config, key).use in (Use.output, Use.folder)]
        for output, other in product(outputs, keys(command)):
            folders = {use_of(config, key).use for key in (output, other)} == {Use.folder}
            if output != other and not folders:
                found.append((command, output, other))
    return found


def point(config, key: str, file: Path) -> None:
    """Sets a key so that what it reads or writes is `file`."""
    about = use_of(config, key)
    if about.use is Use.prefix:
        section, _ = owner(config, key)
        section.src, section.tgt = "de", "en"
        put(config, key, str(file.with_name(file.name.removesuffix(".de"))))
    else:
        put(config, key, str(file))


def arrange(folder: Path, config, output: str, other: str) -> Path:
    """Sets both keys so that they meet in one file -> that file."""
    abouts = {key: use_of(config, key) for key in (output, other)}
    inside = next((about.contents[0] for about in abouts.values() if about.contents), "file.de").replace("*", "0")
    file, place = folder / inside, dict.fromkeys(abouts, folder)
    if {about.use for about in abouts.values()} == {Use.folder, Use.run}:
        place[output] = folder / "checkpoints" / "best"
    if abouts[other].use is Use.prefix:
        file = folder / "file.de"
        if abouts[output].use is Use.folder:  # of a name that no text has: by a link
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            (folder / inside).symlink_to(file)
            file.touch()
    file.parent.mkdir(parents=True, exist_ok=True)
    for key, about in abouts.items():
        if about.use in (Use.folder, Use.run):
            put(config, key, str(place[key]))
        else:
            point(config, key, file)
    return file


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(("command", "output", "other"), couples())
def test_no_output_of_any_command_may_be_an_input_or_another_output(tmp_path, command, output, other, exists):
    config = COMMANDS[command]()
    file = arrange(tmp_path, config, output, other)
    if exists:
        file.write_text("text\n")
    with pytest.raises(ValueError, match=rf"({output}|{other})=\S+ .*(try another|would write)"):
        check_paths(config)


def names(folder: Path) -> dict[str, str]:
    """Other names of folder/a."""
    (folder / "deep").mkdir()
    (folder / "symbolic").symlink_to("a")
    os.link(folder / "a", folder / "hard")
    (folder / "there").symlink_to(folder)
    return {
        "itself": f"{folder}/a",
        "detour": f"{folder}/deep/../a",
        "dot": f"{folder}/./a",
        "symbolic link": f"{folder}/symbolic",
        "hard link": f"{folder}/hard",
        "linked folder": f"{folder}/there/a",
    }


@pytest.mark.parametrize("how", ["itself", "detour", "dot", "symbolic link", "hard link", "linked folder"])
@pytest.mark.parametrize("key", ["out", "alignments"])
def test_an_input_is_seen_by_all_its_names(tmp_path, how, key):
    (tmp_path / "a").write_text("text\n")
    config = TranslateConfig()
    setattr(config, "in", str(tmp_path / "a"))
    setattr(config, key, names(tmp_path)[how])
    with pytest.raises(ValueError, match=rf"{key}=\S+ is the file that in= names: try another name"):
        check_paths(config)


@pytest.mark.parametrize("how", ["detour", "dot", "symbolic link", "linked folder"])
def test_an_output_that_is_not_there_yet_is_seen_by_all_its_names(tmp_path, how):
    (tmp_path / "a").write_text("")
    other = names(tmp_path)[how]
    for name in ("a", "hard"):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="is the file that soft_alignment= names"):
        check_paths(AlignConfig(src="s", tgt="t", out=str(tmp_path / "a"), soft_alignment=other))


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_file_in_an_output_folder_that_is_a_link_to_an_input_is_seen(tmp_path, link):
    (tmp_path / "text").write_text("text\n")
    (tmp_path / "found" / "heatmaps").mkdir(parents=True)
    link(tmp_path / "text", tmp_path / "found" / "heatmaps" / "7.png")
    with pytest.raises(ValueError, match=r"out=\S+ would write over tgt=\S+: try another place"):
        check_paths(SaliencyConfig(src="s", tgt=str(tmp_path / "text"), out=str(tmp_path / "found")))


def test_an_input_beside_what_is_written_is_no_mistake(tmp_path):
    (tmp_path / "text").write_text("text\n")
    check_paths(SaliencyConfig(src=str(tmp_path / "text"), out=str(tmp_path)))
    config = AlignConfig(
        src=str(tmp_path / "text"), tgt=str(tmp_path / "text"), out=f"{tmp_path}/x", heatmaps=f"{tmp_path}"
    )
    check_paths(config)


def test_the_cache_of_the_demo_corpus_may_be_read_and_written():
    config = COMMANDS["train"]()
    config.guided_alignment.links = ["data/cache/demo/train.links"]
    check_paths(config)


def test_nothing_is_written_into_a_checkpoint(tmp_path):
    best = tmp_path / "run" / "checkpoints" / "best"
    best.mkdir(parents=True)
    (best / "model.safetensors").touch()
    for checkpoint in (best, tmp_path / "run"):
        for place in (best / "new.txt", tmp_path / "run" / "config.yaml", tmp_path / "run" / "checkpoints" / "x"):
            with pytest.raises(ValueError, match="would write among the files of checkpoint="):
                check_paths(TranslateConfig(checkpoint=str(checkpoint), out=str(place)))
        check_paths(TranslateConfig(checkpoint=str(checkpoint), out=str(tmp_path / "run" / "out.txt")))


def test_what_is_no_plain_file_may_be_written_twice():
    check_paths(TranslateConfig(out="/dev/null", alignments="/dev/null"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (TranslateConfig(out="-", alignments="-"), "out=- and alignments=- both write standard output"),
        (TranslateConfig(alignments="-"), "standard output and alignments=- both write standard output"),
        (TranslateConfig(prefixes="-"), "prefixes=- and standard input both read standard input"),
        (AlignConfig(src="-", tgt="-"), "src=- and tgt=- both read standard input"),
        (AlignConfig(src="-", tgt="t", soft_alignment="-"), "soft_alignment=-: this cannot go to standard output"),
        (TranslateConfig(heatmaps="-"), "heatmaps=-: this cannot go to standard output"),
        (SaliencyConfig(src="s", out="-"), "out=-: this cannot go to standard output"),
    ],
)
def test_a_dash_is_a_standard_stream_once(config, said):
    with pytest.raises(ValueError, match=said):
        check_paths(config)


def test_a_dash_is_standard_input_and_output():
    config = TranslateConfig(out="-")
    setattr(config, "in", "-")
    check_paths(config)
    assert config.source is None
    with pytest.raises(ValueError, match="append=true continues files"):
        TranslateConfig(out="-", append=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_tilde_is_expanded_in_every_path_of_every_command(monkeypatch, tmp_path, command):
    monkeypatch.setenv("HOME", str(tmp_path))
    for key in keys(command):
        config = COMMANDS[command]()
        put(config, key, f"~/x-{key}")
        prepare_paths(config)
        assert f"{tmp_path}/x-{key}" in [path.value for path in named_paths(config)]


def kept(command: str) -> list[str]:
    """The keys whose values go into files: all of training, and of others what is more than a file."""
    config = COMMANDS[command]()
    plain = () if command == "train" else (Use.input, Use.output)
    return [key for key in keys(command) if use_of(config, key).use not in plain]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_that_no_file_could_hold_is_refused_in_every_key_that_is_kept(command):
    for key in kept(command):
        config = COMMANDS[command]()
        put(config, key, "d\udce9/x")
        check = config.__post_init__ if command == "train" else lambda config=config: check_paths(config)
        with pytest.raises(ValueError, match=rf"{key}=d\\xe9/x: its bytes are not UTF-8"):
            check()


@pytest.mark.parametrize("text", ["${x}/t", "a${oc.env:HOME}", "\\${x}"])
def test_what_a_saved_configuration_could_not_be_read_with_is_refused_in_every_key_of_training(text):
    for key in [*keys("train"), "name", "data.src", "data.config"]:
        config = COMMANDS["train"]()
        put(config, key, text)
        with pytest.raises(ValueError, match=rf"{key}=\S+: a run's configuration cannot hold \$\{{"):
            config.__post_init__()


@pytest.mark.parametrize("key", ["out", "alignments", "heatmaps"])
def test_a_place_that_cannot_be_written_is_named_with_its_key(monkeypatch, tmp_path, key):
    (tmp_path / "file").touch()
    folder = key == "heatmaps"
    for value, said in {
        str(tmp_path / "file" / "x"): "file is a file, and a folder is needed" if folder else "there is no folder",
        str(tmp_path / "file") if folder else str(tmp_path): "is a file, and" if folder else "is a folder, and a file",
    }.items():
        with pytest.raises(ValueError, match=rf"{key}=\S+: .*{said}"):
            check_paths(TranslateConfig(**{key: value}))
    monkeypatch.setattr(os, "access", lambda place, _mode: Path(place) != tmp_path)
    with pytest.raises(ValueError, match=rf"{key}=\S+: cannot be written, as {tmp_path} is read-only or not yours"):
        check_paths(TranslateConfig(**{key: str(tmp_path / "new")}))


def test_a_cache_that_has_all_may_be_read_only(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda _place, _mode: False)
    config = EvaluateConfig()
    config.data.cache = str(tmp_path)
    check_paths(config)
