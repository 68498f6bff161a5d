"""The export command: what it writes, the translator of docs/export.md on it, and what it refuses."""

import json
import random
import re
import sys

import pytest

from nmt.config.schema.export import EXPORT_FILES
from tests.support.commands import ROOT, call
from tests.training.test_translate import run  # noqa: F401 (a fixture)

LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):  # noqa: F811
    """The folder of an exported run, and what the command printed."""
    for name in LIBRARIES:
        pytest.importorskip(name, reason="needs the optional extra `export`")
    folder = tmp_path_factory.mktemp("export")
    ended = call(folder, "export", f"checkpoint={run}", "out=sample-onnx")
    assert ended.code == 0, ended.err
    return folder / "sample-onnx", ended


def example() -> str:
    """The program in docs/export.md."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "export.md").read_text("utf-8"), re.S | re.M)[0]


@pytest.mark.slow
def test_the_documented_translator_translates_as_greedy_search(exported, run, tiny, tmp_path, monkeypatch):  # noqa: F811
    rng = random.Random(0)
    lines = [" ".join(rng.choices(tiny.src, k=rng.randint(0, 3))) for _ in range(100)]
    words = [f"checkpoint={run}", "device=cpu", "decode.beam=1"]
    wanted = call(tmp_path, "translate", *words, stdin="".join(f"{line}\n" for line in lines).encode()).out.splitlines()
    monkeypatch.chdir(exported[0].parent)
    names: dict = {}
    exec(compile(example(), "docs/export.md", "exec"), names)
    assert [names["translate"](line) for line in lines] == wanted
    assert len(set(wanted)) > 5


def test_the_documented_translator_is_as_short_as_it_says():
    code = [line for line in example().splitlines() if line.strip() and "import" not in line]
    assert len(code) <= 30


@pytest.mark.slow
def test_the_command_says_how_close_onnxruntime_comes(exported):
    said = re.fullmatch(
        r"written to sample-onnx; onnxruntime computes the same numbers within (\S+)\n", exported[1].out
    )
    assert said
    assert float(said[1]) < 1e-5
    assert len(exported[1].err.splitlines()) == 1  # what is exported, and no notes of torch


@pytest.mark.slow
def test_model_json_names_what_the_graphs_have(exported):
    import onnxruntime

    folder, _ = exported
    about = json.loads((folder / "model.json").read_text("utf-8"))
    for part in ("encoder", "decoder"):
        session = onnxruntime.InferenceSession(folder / about[part]["file"])
        for key, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            assert {each.name: each.shape for each in found} == {
                name: each["shape"] for name, each in about[part][key].items()
            }
    decoder = about["decoder"]
    assert decoder["state"].keys() <= decoder["inputs"].keys()
    assert set(decoder["state"].values()) <= decoder["outputs"].keys()
    assert decoder["inputs"].keys() - {"tokens"} <= about["encoder"]["outputs"].keys()
    assert all((folder / side["file"]).is_file() for side in about["tokenizer"].values())


@pytest.mark.slow
def test_no_file_is_written_that_is_not_declared(exported):
    written = {path.relative_to(exported[0]) for path in exported[0].rglob("*") if path.is_file()}
    assert written == {path for path in written if any(path.match(pattern) for pattern in EXPORT_FILES)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["out=o"], "checkpoint= is not set"),
        (["checkpoint=r"], "out= is not set"),
        (["checkpoint=[a,b]", "out=o"], "an ensemble cannot be exported"),
        (["checkpoint={a: b}", "out=o"], "checkpoint={'a': 'b'}: give a run or checkpoint folder"),
        (["checkpoint=nowhere", "out=o"], "checkpoint=nowhere: no such folder"),
        (["checkpoint=nowhere", "out=there"], "out=there: is there already; try another name"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, words, said):
    (tmp_path / "there").mkdir()
    assert said in call(tmp_path, "export", *words).mistake
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_library_is_named(tmp_path, monkeypatch, library):
    for name in LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None if name == library else sys)
    said = call(tmp_path, "export", "checkpoint=r", "out=o").mistake
    assert said == f"the export needs {library}: pip install 'attention-nmt[export]'"
