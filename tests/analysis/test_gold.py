"""Gold links: one reader for every command, strict about numbers of lines and about words."""

import gzip
import os
import threading

import pytest

from nmt.analysis.alignment import LinkFiles, read_gold, read_gold_and_links
from nmt.corpus import Pair

PAIRS = [Pair("a b c", "A B C D"), Pair("d e", "E"), Pair("", ""), Pair("f", "F G H")]
LINES = ["0-0 2-3 1p1", "0-0 1-0", "", "0-2"]
WA = ["1 1 1 S", "1 3 4", "1 2 2 P", "2 1 1 S", "2 2 1 S", "4 1 3 S"]
TURNED = ["0-0 3-2 1p1", "0-0 0-1", "", "2-0"]
FROM_ONE = ["1-1 3-4 2p2", "1-1 2-1", "", "1-3"]
BOTH = ["1-1 4-3 2p2", "1-1 1-2", "", "3-1"]


@pytest.fixture
def read(tmp_path):
    """read(lines) -> the gold links of a file of these lines, about PAIRS."""

    def read(lines, *, name="gold", **options):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
        return read_gold(tmp_path / name, PAIRS, "text", **options)

    return read


def test_both_formats_both_directions_and_gzip_give_the_same_links(read, tmp_path):
    gold = read(LINES).links
    assert [sorted(each.sure) for each in gold] == [[(0, 0), (2, 3)], [(0, 0), (1, 0)], [], [(0, 2)]]
    assert read(WA).links == gold
    assert read(TURNED, target_first=True).links == gold
    (tmp_path / "gold.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in LINES).encode()))
    assert read_gold(tmp_path / "gold.gz", PAIRS, "text").links == gold


def test_a_wa_file_may_end_before_the_text_does(read):
    assert [len(each.sure) for each in read(WA[:3]).links] == [2, 0, 0, 0]


def test_links_are_read_once_so_that_they_may_come_from_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    content = "".join(f"{line}\n" for line in LINES)
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(content,), daemon=True)
    writer.start()
    assert len(read_gold(tmp_path / "pipe", PAIRS, "text").links) == len(PAIRS)
    writer.join()


@pytest.mark.parametrize(
    ("lines", "target_first", "said"),
    [
        ([], False, "gold has links for 0 sentences but text has 4 lines"),
        (LINES[:2], False, "gold has links for 2 sentences but text has 4 lines"),
        ([*LINES, ""], False, "gold has links for 5 sentences but text has 4 lines"),
        ([*WA, "5 1 1"], False, "gold, line 7: sentence 5, and the text has only 4"),
        (
            TURNED,
            False,
            "source word 3 and target word 2, counted from 0, of 3 and 4; all links fit with gold_reversed=t",
        ),
        (
            LINES,
            True,
            "source word 3 and target word 2, counted from 0, of 3 and 4; all links fit with gold_reversed=f",
        ),
        (FROM_ONE, False, "sentence 1: a link to source word 3 and target word 4, .* fit with 1 subtracted from each"),
        (BOTH, False, "all links fit with gold_reversed=true and 1 subtracted from each number"),
        (["0-0", "9-9", "", ""], False, "sentence 2: a link to source word 9 and .* of 2 and 1; are they of text"),
        (
            ["", "", "0-0", ""],
            False,
            "sentence 3: a link to source word 0 and target word 0, counted from 0, of 0 and 0",
        ),
        (["0-0", "0p1", "", ""], False, "sentence 2"),
    ],
)
def test_links_of_another_text_or_read_in_another_way_are_refused_and_the_right_way_is_said(
    read, lines, target_first, said
):
    with pytest.raises(ValueError, match=said):
        read(lines, target_first=target_first)


def test_links_that_fit_in_two_ways_are_doubted_where_the_other_way_is_far_better(tmp_path):
    pairs = [Pair("a b c d", "A B C D")] * 2
    (tmp_path / "gold").write_text("0-2 1-3 2-1\n1-2 2-3\n")
    gold = read_gold(tmp_path / "gold", pairs, "text")
    assert gold.misreading([[(0, 2), (1, 3), (2, 1)], [(1, 2), (2, 3)]]) == ""
    turned = [[(2, 0), (3, 1), (1, 2)], [(2, 1), (3, 2)]]
    assert "gold may have been read in a wrong way: with gold_reversed=true the" in gold.misreading(turned)
    assert "would be 0.0 %, and not 100.0 %" in gold.misreading(turned)
    (tmp_path / "gold").write_text("1-1 2-2 3-3\n1-1 3-2\n")
    gold = read_gold(tmp_path / "gold", pairs, "text")
    assert "with 1 subtracted from each number" in gold.misreading([[(0, 0), (1, 1), (2, 2)], [(0, 0), (2, 1)]])


def test_links_are_scored_as_they_are_read(read):
    gold = read(LINES)
    assert gold.score([each.sure for each in gold.links]) == (0, 1, 1)


def test_two_files_of_links_are_of_as_many_sentences_and_a_wa_file_does_not_say_where_it_ends(tmp_path):
    (tmp_path / "pharaoh").write_text("".join(f"{line}\n" for line in [*LINES, ""]))
    (tmp_path / "wa").write_text("".join(f"{line}\n" for line in WA))
    for gold, found in (("pharaoh", "wa"), ("wa", "pharaoh"), ("wa", "wa"), ("pharaoh", "pharaoh")):
        read = read_gold_and_links(tmp_path / gold, tmp_path / found)
        assert read[0].score(read[1]).aer == 0
    (tmp_path / "short").write_text("0-0\n")
    with pytest.raises(ValueError, match=r"short has links for 1 sentences but .*pharaoh has 5 lines"):
        read_gold_and_links(tmp_path / "short", tmp_path / "pharaoh")


def test_links_to_learn_from_may_be_gzipped_and_a_pipe_is_refused_by_name(tmp_path):
    (tmp_path / "links.gz").write_bytes(gzip.compress(b"0-0 1-1\n\n"))
    assert list(LinkFiles([tmp_path / "links.gz"], "guided_alignment.links")) == [{(0, 0), (1, 1)}, set()]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is a pipe or a folder, not a file"):
        LinkFiles([tmp_path / "pipe"], "guided_alignment.links")
