"""Words of texts in several scripts, and the vocabulary."""

from ssl_cli.data.articles.words import WordVocabulary, join_words, words_of


def test_words_keep_their_spelling_and_lose_their_punctuation() -> None:
    assert words_of("U.S. rate-cut: 4.5 pct, Smith's <ABC>!") == ["U.S", "rate-cut", "4.5", "pct", "Smith's", "ABC"]
    assert words_of("奥委会 said: 你好") == ["奥", "委", "会", "said", "你", "好"]


def test_chinese_characters_are_joined_without_spaces() -> None:
    assert join_words(["奥", "委", "会", "said", "no", "好"]) == "奥委会 said no 好"
    assert join_words([]) == ""


def test_a_vocabulary_knows_words_in_any_case() -> None:
    vocabulary = WordVocabulary.of_texts([["The", "cat"], ["the", "CAT", "the"]])
    assert vocabulary.words == ["the", "cat"] and len(vocabulary) == 4
    assert vocabulary.encode(["THE", "dog", "cat"]) == [0, vocabulary.unknown, 1]
    assert (vocabulary.end, vocabulary.unknown) == (2, 3)
