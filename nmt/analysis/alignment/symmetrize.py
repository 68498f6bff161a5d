"""Symmetrization: one set of links, or one matrix, from the models of both translation directions."""

from collections.abc import Collection
from enum import Enum
from heapq import heappop, heappush

import numpy as np

from nmt.analysis.alignment.linking import Link, claims_of, threshold_links

MIN_MEAN_WEIGHT = 0.45  # the minimum for a link of the mean of both directions' weights
MIN_JOINT_CLAIM = 0.1  # the minimum for a link of the geometric mean of both directions' claims
_NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


class Symmetrization(Enum):
    """The values of ``symmetrize``: how the links of two directions are combined."""

    intersection = "intersection"
    union = "union"
    grow_diag = "grow_diag"
    grow_diag_final_and = "grow_diag_final_and"
    joint = "joint"
    mean = "mean"


def symmetrize(
    forward: Collection[tuple[int, int]], backward: Collection[tuple[int, int]], how: Symmetrization
) -> list[Link]:
    """Combine links of both directions, all with the source first, into one sorted list.

    grow_diag starts with the intersection and repeatedly adds links of the union that are adjacent to a link
    (diagonally too) and have a word without a link; grow_diag_final_and then adds, first from `forward` and then from
    `backward`, links between two words that both have no link.  # Och and Ney (2003), 4; Koehn et al. (2005)
    Raises ValueError for joint and mean, which need two matrices: `joint_links`, `mean_links`.
    """
    first, second = set(forward), set(backward)
    match how:
        case Symmetrization.intersection:
            found = first & second
        case Symmetrization.union:
            found = first | second
        case Symmetrization.grow_diag:
            found = _grow(first & second, first | second)
        case Symmetrization.grow_diag_final_and:
            found = _grow(first & second, first | second)
            for links in (forward, backward):
                _finish(found, links)
        case _:
            of_matrices = (Symmetrization.joint, Symmetrization.mean)
            legal = ", ".join(word.value for word in Symmetrization if word not in of_matrices)
            raise ValueError(f"symmetrize={how.value} is made of matrices, not of links: of links legal are {legal}")
    return sorted(Link(*pair) for pair in found)


def joint_links(forward: np.ndarray, backward: np.ndarray, *, threshold: float | None = None) -> list[Link]:
    """The links by both directions jointly, sorted: sqrt(claim of one * claim of the other) >= threshold.

    # Liang, Taskar and Klein (2006), 4, with claims as in `links` for posteriors: w^2 / (sum of the weights on a word)
    forward (Tw, Sw): weights of each target word; backward (Sw, Tw): of each source word. threshold: by default
    MIN_JOINT_CLAIM. Raises ValueError unless 0 < threshold <= 1.
    """
    return threshold_links(
        MIN_JOINT_CLAIM if threshold is None else threshold, combine(claims_of(forward), claims_of(backward))
    )


def mean_links(forward: np.ndarray, backward: np.ndarray, *, threshold: float | None = None) -> list[Link]:
    """The links whose mean weight in two directions reaches a threshold, sorted.

    For posteriors these are links with a weight near 1 in one direction, or with a weight of about half or more in
    both. forward (Tw, Sw): weights of each target word; backward (Sw, Tw): of each source word. threshold: by default
    MIN_MEAN_WEIGHT. Raises ValueError unless 0 < threshold <= 1.
    """
    assert forward.shape == backward.shape[::-1], "the two directions are of the same pair"
    return threshold_links(MIN_MEAN_WEIGHT if threshold is None else threshold, (forward + backward.T) / 2)


def combine(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """One matrix from two directions: sqrt(p(i|j) q(j|i)), large if both are. Rows need not sum to one.

    forward (Tw, Sw): weights of each target word; backward (Sw, Tw): of each source word -> (Tw, Sw).
    """
    assert forward.shape == backward.shape[::-1], "the two directions are of the same pair"
    return np.sqrt(forward * backward.T)


def _grow(found: set[tuple[int, int]], union: set[tuple[int, int]]) -> set[tuple[int, int]]:
    sources, targets = {src for src, _ in found}, {tgt for _, tgt in found}
    before = -1
    while before < len(found):
        before = len(found)
        # By target word, then source word, in the order of the published program: an added link can exclude a later
        # one, and later neighbors of it are considered in the same iteration.
        ahead = sorted((tgt, src) for src, tgt in found)
        while ahead:
            tgt, src = heappop(ahead)
            for across, down in _NEIGHBOURS:
                new = (src + across, tgt + down)
                if new in union and new not in found and (new[0] not in sources or new[1] not in targets):
                    found.add(new)
                    sources.add(new[0])
                    targets.add(new[1])
                    if (new[1], new[0]) > (tgt, src):
                        heappush(ahead, (new[1], new[0]))
    return found


def _finish(found: set[tuple[int, int]], links: Collection[tuple[int, int]]) -> None:
    sources, targets = {src for src, _ in found}, {tgt for _, tgt in found}
    for src, tgt in sorted(links, key=lambda link: (link[1], link[0])):
        if src not in sources and tgt not in targets:
            found.add((src, tgt))
            sources.add(src)
            targets.add(tgt)
