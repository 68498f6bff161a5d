"""The server over a real socket: LibreTranslate's clients, what it adds, and what is refused."""

import socket
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from libretranslatepy import LibreTranslateAPI

import nmt
from nmt import build
from nmt.analysis.confidence import assess
from nmt.decoding.word_scores import word_log_probs
from tests.support.commands import call
from tests.support.http import PATIENCE, Client

pytestmark = [pytest.mark.slow, pytest.mark.process]

LINES = ["der hund sieht", "ein haus", "rot", "die frau sieht ein kind", "mann", "hund katze haus rot gross"]
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def model(runs) -> nmt.TrainedModel:
    return nmt.load(runs[0], device="cpu")


def translated(model: nmt.TrainedModel, *lines: str) -> list[str]:
    return [each.text for each in model.translate(lines, max_length=20)]


# As LibreTranslate


def test_libretranslates_own_client_translates_and_lists_languages(served, model):
    client = LibreTranslateAPI(served.url)
    assert client.translate(LINES[0], "de", "en") == translated(model, LINES[0])[0]
    assert client.languages() == [
        {"code": "de", "name": "German", "targets": ["en"]},
        {"code": "en", "name": "English", "targets": ["de"]},
    ]
    with pytest.raises(urllib.error.HTTPError, match="501"):
        client.detect(LINES[0])


def test_a_list_is_translated_text_by_text(served, model):
    answer = served.post("/translate", q=[*LINES, ""], source="de", target="en")
    assert answer == (200, {"translatedText": [*translated(model, *LINES), ""]})


def test_a_form_and_json_are_answered_alike(served):
    fields = {"q": LINES[0], "source": "de", "target": "en", "format": "text", "alternatives": "2", "api_key": "k"}
    answer = served.post_form("/translate", **fields)
    assert answer.status == 200
    assert answer == served.post("/translate", **fields)
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()
    )
    assert answer == served.ask("POST", "/translate", f"{parts}--x--\r\n", "multipart/form-data; boundary=x")


@pytest.mark.parametrize("charset", ["", "; charset=latin-1", "; charset=unicode_escape", "; Charset=none"])
def test_a_form_in_parts_is_utf8_whatever_it_says(served, charset):
    kind = f"multipart/form-data{charset}; boundary=x"

    def ask(text: bytes):
        fields = {"source": b"de", "target": b"en", "q": text}
        head = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        body = b"".join(head % (name.encode(), value) for name, value in fields.items())
        return served.ask("POST", "/translate", body + b"--x--\r\n", kind)

    assert ask("schön".encode()) == served.post("/translate", q="schön", source="de", target="en")
    assert ask(rb"der \ud800 hund").status == 200
    for damaged in (b"sch\xf6n", "\ud800".encode(errors="surrogatepass")):
        assert ask(damaged) == (400, {"error": "Invalid request: the form is not UTF-8"})


def test_a_form_may_hold_utf8_that_is_not_percent_encoded(served):
    plain = served.ask("POST", "/translate", "q=schön; 1%2B1+%C3%BC&source=de&target=en&attention=true".encode(), FORM)
    assert plain == served.post("/translate", q="schön; 1+1 ü", source="de", target="en", attention=True)
    assert plain.content["attention"][0]["sourceWords"][0] == "schön;"


@pytest.mark.parametrize("text", [b"sch\xf6n", b"sch%F6n"])
def test_a_form_in_another_encoding_is_refused(served, text):
    answer = served.ask("POST", "/translate", b"q=" + text + b"&source=de&target=en", FORM)
    assert answer == (400, {"error": "Invalid request: the form is not UTF-8"})


def test_alternatives_differ_from_the_translation_and_from_each_other(served):
    found = served.post("/translate", q=LINES[3], source="de", target="en", alternatives=3).content
    texts = [found["translatedText"], *found["alternatives"]]
    assert 2 <= len(texts) <= 4
    assert len(set(texts)) == len(texts)
    more = served.post("/translate", q=LINES[3], source="de", target="en", alternatives=99).content
    assert more["alternatives"][: len(found["alternatives"])] == found["alternatives"]


def test_asking_for_alternatives_does_not_change_the_translation(served):
    one, other = (served.post("/translate", q=LINES, source="de", target="en", alternatives=k).content for k in (0, 4))
    assert one["translatedText"] == other["translatedText"]
    assert "alternatives" not in one


def test_sentences_are_put_together_with_their_white_space(served, model):
    first, second, third = translated(model, "Der hund sieht.", "Ein haus!", "rot")
    text = "  Der hund sieht.  Ein haus! \n\n\trot\n😀"
    found = served.post("/translate", q=text, source="de", target="en").content["translatedText"]
    assert found == f"  {first}  {second} \n\n\t{third}\n😀"


def test_a_variant_of_a_language_is_that_language(served):
    assert served.post("/translate", q="rot", source="de_AT", target="EN-us").status == 200


def test_the_direction_is_that_of_the_request(served, runs):
    back = nmt.load(runs[1], device="cpu")
    answer = served.post("/translate", q="dnuh", source="en", target="de")
    assert answer.content["translatedText"] == translated(back, "dnuh")[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "zz"}, "zz is not supported"),
        ({"source": "zz"}, "zz is not supported"),
        ({"source": "en"}, "en to en is not supported: the models translate de to en, en to de"),
        ({"q": ""}, "Invalid request: missing q parameter"),
        ({"q": []}, "Invalid request: missing q parameter"),
        ({"source": ""}, "Invalid request: missing source parameter"),
        ({"target": None}, "Invalid request: missing target parameter"),
        ({"format": "xml"}, "xml format is not supported"),
        ({"alternatives": "abc"}, "Invalid request: alternatives parameter is not a number"),
        ({"q": "a" * 2001}, "Invalid request: request (2001) exceeds text limit (2000)"),
        ({"q": "a" * 1001}, "Invalid request: a sentence of 1001 characters exceeds the limit of 1000"),
        ({"q": ["a"] * 51}, "Invalid request: 51 sentences exceed the limit of 50"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_in_a_sentence(served, changes, said):
    fields = {"q": "rot", "source": "de", "target": "en"} | changes
    assert served.post("/translate", **fields) == (400, {"error": said})


def test_auto_is_refused_where_there_are_several_source_languages_and_nothing_is_guessed(served):
    # There is one model to English, so its source is no guess.
    found = served.post("/translate", q=["rot"], source="auto", target="en").content
    assert found["detectedLanguage"] == [{"confidence": 0.0, "language": "de"}]
    assert served.post_form("/detect", q="rot").status == 501


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[1]",
        "null",
        '"a"',
        "[" * 80_000,
        r'{"q": "\ud800", "source": "de", "target": "en"}',
        '{"q": 1, "source": "de", "target": "en"}',
    ],
)
def test_a_damaged_body_is_refused(served, body):
    answer = served.ask("POST", "/translate", body, "application/json")
    assert answer.status == 400
    assert list(answer.content) == ["error"]


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_damaged_form_is_refused(served, kind):
    assert served.ask("POST", "/translate", "--x\r\nnonsense", kind).status == 400


def test_a_path_that_is_not_there_says_so(served):
    assert served.get("/nothing") == (404, {"error": "GET /nothing: Not Found"})
    assert served.get("/translate") == (405, {"error": "GET /translate: Method Not Allowed"})


def test_a_page_of_another_origin_may_ask(served):
    connection = socket.create_connection((served.host, served.port), PATIENCE)
    with connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nOrigin: http://other\r\nConnection: close\r\n\r\n")
        assert b"access-control-allow-origin: *" in received(connection)


def test_the_interface_is_documented(served):
    document = served.get("/openapi.json").content
    assert document["paths"].keys() >= {"/translate", "/align", "/languages", "/detect", "/health"}
    body = document["paths"]["/translate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"].keys() >= {"q", "source", "target", "format", "alternatives", "attention"}


# Beyond it


def test_attention_is_that_of_the_python_interface(served, model):
    answer = served.post("/translate", q="\n".join(LINES), source="de", target="en", attention=True)
    sentences = answer.content["attention"]
    assert [each["source"] for each in sentences] == LINES
    assert any(len(each["targetWords"]) > 1 for each in sentences)
    for sentence in sentences:
        (expected,) = model.translate([sentence["source"]], max_length=20)
        weights, eos = nmt.word_attention(expected)
        assert sentence["translation"] == expected.text
        assert (sentence["sourceWords"], sentence["targetWords"]) == (expected.src_words, expected.tgt_words)
        assert [tuple(link) for link in sentence["links"]] == nmt.word_links(expected)
        np.testing.assert_allclose(np.reshape(sentence["weights"], weights.shape), weights, atol=1e-3)
        np.testing.assert_allclose(sentence["endWeights"], eos, atol=1e-3)
        assert sentence["logProb"] == pytest.approx(expected.log_prob, abs=1e-3)
        assert len(sentence["logProbs"]) == len(expected.tgt_words)


def test_confidence_is_that_of_the_calibrated_run(served, model):
    loaded = build.load(str(model.checkpoint), model.device.device)
    calibration = build.calibration_of(loaded)
    assert calibration
    answer = served.post("/translate", q="\n".join(LINES), source="de", target="en", confidence=True)
    assert "attention" not in answer.content
    for line, found in zip(LINES, answer.content["confidence"], strict=True):
        (expected,) = model.translate([line], max_length=20)
        (scores,) = word_log_probs(loaded.model, loaded.tokenizer, [expected], temperature=calibration.temperature)
        sure = assess(expected, scores, calibration).to_dict()
        assert (found["source"], found["translation"]) == (line, expected.text)
        assert (found["sourceWords"], found["targetWords"]) == (expected.src_words, expected.tgt_words)
        assert found["words"] == pytest.approx(sure["words"], abs=1e-3)
        assert found["sentence"] == pytest.approx(sure["sentence"], abs=1e-3)
        assert found["calibrated"]
        assert (found["omitted"], found["unsupported"]) == (sure["omitted"], sure["unsupported"])


def test_confidence_is_given_text_by_text_and_not_for_html(served):
    fields = {"q": ["rot", "der hund\nein haus"], "source": "de", "target": "en", "confidence": True}
    found = served.post("/translate", **fields, attention=True).content
    assert [[each["source"] for each in text] for text in found["confidence"]] == [["rot"], ["der hund", "ein haus"]]
    assert [len(text) for text in found["attention"]] == [1, 2]
    refused = served.post("/translate", **fields, format="html")
    assert refused == (400, {"error": "Invalid request: confidence parameter: it is for text, and format is html"})


def test_given_pairs_are_aligned_as_by_the_python_interface(served, model):
    pairs = [("der hund", "dnuh red"), ("rot", "tor")]
    answer = served.post("/align", pairs=pairs, source="de", target="en")
    for found, expected in zip(answer.content["pairs"], model.force_decode(pairs), strict=True):
        assert [tuple(link) for link in found["links"]] == nmt.word_links(expected)
        assert found["logProb"] == pytest.approx(expected.log_prob, abs=1e-3)
    assert served.post("/align", pairs=["no pair"], source="de", target="en").status == 400


# Many clients


def test_the_same_text_is_translated_alike_whatever_it_is_batched_with(served):
    alone = [served.post("/translate", q=line, source="de", target="en").content for line in LINES]

    def ask(number: int):
        explained = number % 3 == 0
        fields = {"q": LINES[number % len(LINES)], "source": "de", "target": "en", "attention": explained}
        return served.post("/translate", **fields).content["translatedText"]

    with ThreadPoolExecutor(8) as clients:
        together = list(clients.map(ask, range(48)))
    assert together == [alone[number % len(LINES)]["translatedText"] for number in range(48)]


def received(connection: socket.socket) -> bytes:
    """Whatever comes until the other side closes the connection."""
    parts = []
    with connection:
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def test_a_client_that_hangs_up_harms_nobody(served):
    body = b'{"q": "rot", "source": "de", "target": "en"}'
    head = f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for part in (head, head + body[:9], head + body, b"POST /tr", b"\x16\x03\x01 nonsense"):
        with socket.create_connection((served.host, served.port), PATIENCE) as connection:
            connection.sendall(part)
    end = time.monotonic() + PATIENCE
    while served.get("/health").content["waiting"]:
        assert time.monotonic() < end
    assert served.get("/health").status == 200


def test_a_body_of_ten_megabytes_is_refused(served):
    answer = served.ask("POST", "/translate", b"a" * 10_000_000, "application/json")
    assert answer.status == 413
    assert "larger than the limit" in answer.content["error"]


def test_connections_that_send_nothing_or_half_a_head_are_dropped(served):
    idle = [socket.create_connection((served.host, served.port), PATIENCE) for _ in range(40)]
    for connection in idle[::2]:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
    assert served.get("/health").status == 200
    for connection in idle:
        assert not received(connection)


# The command


def test_it_says_which_package_is_missing(runs, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("nmt.server.app")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    mistake = call(runs[0], "serve", f"checkpoint={runs[0]}").mistake
    assert mistake == "the server needs fastapi: pip install 'attention-nmt[serve]'"


def test_a_port_that_is_taken_is_refused_in_one_line(served, runs):
    mistake = call(runs[0], "serve", f"checkpoint={runs[0]}", f"port={served.port}").mistake
    assert mistake == f"host=127.0.0.1 port={served.port}: Address already in use; try another port"


@pytest.mark.parametrize("host", ["1.2.3.4", "nowhere.invalid"])
def test_an_address_that_is_not_this_machine_s_is_refused_with_the_right_advice(runs, host, monkeypatch):
    find = socket.getaddrinfo

    def find_offline(name, *given, **more):
        if name == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return find(name, *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", find_offline)
    mistake = call(runs[0], "serve", f"checkpoint={runs[0]}", f"host={host}").mistake
    assert mistake.startswith(f"host={host} port=")
    assert mistake.endswith("; give host= a name or address of this machine")


def test_a_host_that_is_no_name_is_refused(runs):
    mistake = call(runs[0], "serve", f"checkpoint={runs[0]}", "host=a..b").mistake
    assert mistake == "host=a..b: not the name or address of a machine"


def test_two_runs_of_one_direction_are_refused(runs):
    ended = call(runs[0], "serve", f"checkpoint=[{runs[0]},{runs[0]}]", "port=0", "device=cpu")
    assert (ended.code, ended.err.splitlines()[-1]) == (
        2,
        "error: checkpoint= names two runs that translate de to en: leave one of them out",
    )


def test_what_is_in_flight_is_finished_on_sigterm(runs, start_command):
    child = start_command("serve", [f"checkpoint={runs[0]}", "port=0", "device=cpu", "decode.max_length=300"])
    client = Client.when_listening(child.err)
    with ThreadPoolExecutor(1) as pool:
        texts = ["der hund " * 30] * 40
        answer = pool.submit(client.post, "/translate", q=texts, source="de", target="en")
        end = time.monotonic() + PATIENCE
        while not client.get("/health").content["waiting"]:
            assert time.monotonic() < end
        child.kill(15)
        found = answer.result(PATIENCE)
    assert found.status == 200
    assert len(set(found.content["translatedText"])) == 1
    assert child.wait() == 0
