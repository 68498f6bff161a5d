"""The words of a translation that are right, compared with a reference."""

from collections.abc import Sequence


def right_words(words: Sequence[str], reference: Sequence[str]) -> list[bool]:
    """For each word whether the cheapest edit of the translation into the reference keeps it.

    An edit inserts, deletes or replaces a word; of equally cheap edits one with the most kept words is used. Words are
    compared exactly. These are the tags of word-level quality estimation, TER without shifts: unlike with a bag of
    words, a second "the" is right only if the reference has one at that position.
    # Bojar et al. (2016), WMT16 quality estimation, task 2
    """
    rows, columns = len(words), len(reference)
    unit = rows + columns + 1  # the cost of an edit: larger than any number of kept words
    cost = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows + 1):
        for j in range(columns + 1):
            steps = [cost[i - 1][j] + unit] if i else []
            steps += [cost[i][j - 1] + unit] if j else []
            if i and j:
                steps.append(cost[i - 1][j - 1] + _edit(words[i - 1], reference[j - 1], unit))
            cost[i][j] = min(steps, default=0)
    right = [False] * rows
    i, j = rows, columns
    while i and j:
        edit = _edit(words[i - 1], reference[j - 1], unit)
        if cost[i][j] == cost[i - 1][j - 1] + edit:
            i, j = i - 1, j - 1
            right[i] = edit < unit
        elif cost[i][j] == cost[i - 1][j] + unit:
            i -= 1
        else:
            j -= 1
    return right


def _edit(word: str, other: str, unit: int) -> int:
    """The cost of one word in place of the other; a kept word reduces it, to choose among the fewest edits."""
    return -1 if word == other else unit
