from nmt.corpus import ConcatenatedCorpus, Pair, read_files


def corpus(folder, lines):
    for suffix, sign in (("de", ""), ("en", "'")):
        (folder / f"text.{suffix}").write_text("".join(f"{line}{sign}\n" for line in lines))
    return read_files([folder / "text"], "de", "en")


def test_neighbors_are_joined_in_ever_larger_groups_and_a_rest_is_left_out(tmp_path):
    assert [pair.src for pair in ConcatenatedCorpus(corpus(tmp_path, "abcde"), 3)] == [*"abcde", "a b", "c d", "a b c"]


def test_both_sides_are_joined_alike(tmp_path):
    assert list(ConcatenatedCorpus(corpus(tmp_path, "ab"), 2))[-1] == Pair("a b", "a' b'")


def test_of_one_neighbour_each_comes_the_text_itself(tmp_path):
    text = corpus(tmp_path, "abc")
    assert list(ConcatenatedCorpus(text, 1)) == list(text)


def test_its_name_and_digest_tell_it_from_the_text_and_from_other_groups(tmp_path):
    text = corpus(tmp_path, "abc")
    three = [text, ConcatenatedCorpus(text, 2), ConcatenatedCorpus(text, 3)]
    assert len({each.name for each in three}) == len({each.digest() for each in three}) == 3


def test_it_says_that_it_is_a_synthetic_set(tmp_path):
    assert (
        ConcatenatedCorpus(corpus(tmp_path, "abc"), 4).about
        == "synthetic set, 1 to 4 neighboring sentences joined into one"
    )
