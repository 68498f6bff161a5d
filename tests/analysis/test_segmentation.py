import pytest

from nmt.analysis.segmentation import bleu_tokenizer, length_unit, lengths, unfit_tokenizer, without_spaces

CHINESE = ["他们昨天去了北京大学。", "我爱你。", "你好吗"]


@pytest.mark.parametrize(
    "code",
    ["zh", "zho", "chi", "cmn", "zho_Hans", "zho_Hant", "zh-TW", "zh_CN", "ZH", "yue", "yue_Hant", "wuu", "zh-Hans-SG"],
)
def test_every_code_of_chinese_gets_the_chinese_tokenizer(code):
    assert bleu_tokenizer(code) == "zh"


@pytest.mark.parametrize(
    "code",
    [
        *("ja", "jpn", "jpn_Jpan", "ja-JP", "ko", "kor", "kor_Hang", "th", "tha", "tha_Thai", "lo", "lao", "lao_Laoo"),
        *("km", "khm", "khm_Khmr", "my", "mya", "bur", "mya_Mymr", "bo", "bod", "bod_Tibt", "dz", "dzo_Tibt", "shn"),
    ],
)
def test_every_code_of_a_language_without_spaces_is_scored_by_character(code):
    assert bleu_tokenizer(code) == "char"


@pytest.mark.parametrize("code", ["de", "deu_Latn", "en-GB", "ru", "rus_Cyrl", "vie", "ar", "hi", "tr", "mul"])
def test_a_language_with_spaces_is_scored_by_13a(code):
    assert bleu_tokenizer(code) == "13a"


@pytest.mark.parametrize("code", ["zho_Latn", "zh-Latn-pinyin", "ja_Latn", "nan_Latn"])
def test_the_script_decides_not_the_language(code):
    assert bleu_tokenizer(code) == "13a"


@pytest.mark.parametrize("code", ["", "x", "cn", "hello.zh", "a b", "日本", "translation", "en" * 99])
def test_what_is_no_code_is_scored_by_13a(code):
    assert bleu_tokenizer(code) == "13a"


@pytest.mark.parametrize(
    "lines",
    [
        CHINESE,
        ["猫が好きです。", "これはペンです", "iPhoneを買いました"],
        ["สวัสดีครับ ผมชื่อสมชาย อยู่กรุงเทพมหานคร", "วันนี้อากาศดีมาก"],
        ["ខ្ញុំស្រឡាញ់ប្រទេសកម្ពុជា"],
        ["ကျွန်တော်မြန်မာစကားပြောတတ်ပါတယ်"],
        ["我用Python写程序", "", "   "],
    ],
)
def test_text_without_spaces_is_known_by_its_script(lines):
    assert without_spaces(lines)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["", " "],
        ["Hallo", "Donaudampfschifffahrtsgesellschaft"],
        ["나는 너를 사랑한다"],
        ["他们 昨天 去 了 北京 大学 。", "我 爱 你 。"],
        ["ผม ชื่อ สมชาย", "วันนี้ อากาศ ดี มาก"],
        ["The word 北京大学 is a name", "and so is 東京"],
        ["12", "-"],
    ],
)
def test_text_with_spaces_or_divided_into_words_is_not(lines):
    assert not without_spaces(lines)


def test_lengths_are_counted_in_characters_where_there_are_no_spaces():
    assert length_unit(CHINESE) == "characters"
    assert lengths(["我爱 你。", ""], "characters") == [4, 0]
    assert length_unit(["I love you."]) == "words"
    assert lengths(["I love you.", ""], "words") == [3, 0]


@pytest.mark.parametrize(
    ("lines", "better"), [(CHINESE, "zh"), (["猫が好きです。"], "char"), (["วันนี้อากาศดีมาก"], "char")]
)
def test_a_tokenizer_that_needs_spaces_is_warned_of_with_a_better_one(lines, better):
    for tokenizer in ("13a", "intl", "none"):
        assert unfit_tokenizer(tokenizer, lines, "data.bleu_tokenizer").endswith(f"; try data.bleu_tokenizer={better}")
    assert unfit_tokenizer(better, lines, "it") == ""
    assert unfit_tokenizer("13a", ["Ich liebe dich."], "it") == ""
