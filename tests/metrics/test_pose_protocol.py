from __future__ import annotations

import itertools

import numpy as np
import pytest

from secateur.errors import InputError
from secateur.metrics.pose_protocol import make_pose_protocol

POSES = ("frontal", "three-quarter", "profile")


def list_images(n_people: int, n_images: int = 10) -> list[tuple[str, str, int]]:
    """Numbers run over people, then poses, then images."""
    groups = itertools.product(range(n_people), POSES, range(n_images))
    return [(f"n{person:06d}", pose, i) for i, (person, pose, _) in enumerate(groups)]


@pytest.mark.parametrize(("size", "same_pose", "cross_pose"), [(5, 1, 4), (1, 45, 100)])
def test_the_published_set(size: int, same_pose: int, cross_pose: int) -> None:
    """368 people with 10 images in each pose: 11,040 images."""
    images = list_images(368)
    assert len(images) == 11040
    protocol = make_pose_protocol(images, size)
    assert len(protocol.templates) == 11040 // size
    assert sorted(itertools.chain(*protocol.templates)) == list(range(11040))
    assert list(protocol.comparisons) == list(itertools.combinations_with_replacement(POSES, 2))
    for (one, other), pairs in protocol.comparisons.items():
        n_genuine = 368 * (same_pose if one == other else cross_pose)
        assert (pairs.same.sum(), (~pairs.same).sum()) == (n_genuine, 368 * 367)


@pytest.mark.parametrize("size", [5, 1])
def test_pairs_are_of_the_right_poses_and_people(size: int) -> None:
    images = list_images(4)
    protocol = make_pose_protocol(images, size)
    of_template = [{images[i][:2] for i in template} for template in protocol.templates]
    for (one, other), pairs in protocol.comparisons.items():
        seen = set()
        for a, b, same in zip(pairs.first, pairs.second, pairs.same, strict=True):
            ((person, pose),), ((other_person, other_pose),) = of_template[a], of_template[b]
            assert (pose, other_pose) == (one, other)
            assert (person == other_person) == same
            assert a != b
            seen.add((a, b))
        assert len(seen) == len(pairs.same)
        if one == other:  # no genuine pair comes twice, the other way round
            genuine = {frozenset(p) for p in zip(pairs.first[pairs.same], pairs.second[pairs.same])}  # noqa: B905
            assert len(genuine) == pairs.same.sum()


def test_two_people_by_hand() -> None:
    images = [("a", "x", 7), ("b", "x", 1), ("a", "x", 3), ("b", "x", 2), ("a", "x", 9)]
    protocol = make_pose_protocol(images, 1)
    assert protocol.templates == ((7,), (3,), (9,), (1,), (2,))
    pairs = protocol.comparisons["x", "x"]
    # a: templates 0 1 2, b: templates 3 4; impostors: first of a and second of b, and reverse
    np.testing.assert_array_equal(pairs.first, [0, 0, 1, 3, 0, 3])
    np.testing.assert_array_equal(pairs.second, [1, 2, 2, 4, 4, 1])
    np.testing.assert_array_equal(pairs.same, [1, 1, 1, 1, 0, 0])


def test_a_rest_is_not_used() -> None:
    images = [(person, "x", i) for i, person in enumerate("aaaaabbbb")]
    assert make_pose_protocol(images, 2).templates == ((0, 1), (2, 3), (5, 6), (7, 8))


def test_bad_input_is_told() -> None:
    with pytest.raises(InputError, match="'n000000' has 9 images in the pose 'frontal'"):
        make_pose_protocol(list_images(2, 9), 5)
    with pytest.raises(InputError, match="'n000001' has 0 images in the pose 'profile'"):
        make_pose_protocol([i for i in list_images(2) if i[:2] != ("n000001", "profile")], 5)
    with pytest.raises(InputError, match="at least two people, got 1"):
        make_pose_protocol(list_images(1))
    with pytest.raises(ValueError, match="images_per_template"):
        make_pose_protocol(list_images(2), 0)
