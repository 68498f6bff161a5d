"""Which words of a translation are right, by a reference."""

from collections.abc import Sequence


def right_words(words: Sequence[str], reference: Sequence[str]) -> list[bool]:
    """For each word whether the cheapest edit of the translation into the reference keeps it.

    An edit inserts, deletes or replaces a word; of equally cheap edits one that keeps the most words counts. Words are
    compared as they are written. These are the tags of word-level quality estimation, TER without shifts: unlike
    in a bag of words, a second "the" is right only where the reference has one there.
    # Bojar et al. (2016), WMT16 quality estimation, task 2
    """
    rows, columns = len(words), len(reference)
    unit = rows + columns + 1  # of an edit: no number of kept words outweighs one
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
    """The cost of one word in place of the other; keeping a word gains what the fewest edits leave open."""
    return -1 if word == other else unit
