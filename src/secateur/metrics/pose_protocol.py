"""The protocol of VGGFace2-Pose: templates of one pose each, compared within and across poses.

Cao et al., "VGGFace2" (2018): 368 people with 10 images in each of three poses (frontal, three
quarters, profile). Alonso-Fernandez et al., "SqueezerFaceNet" (2023): templates of five images
of one pose, and of one image. Which templates are compared is laid down here: all of one person
with each other; and the first of each person with the second of every other one, which makes
368 x 367 pairs of different people.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from secateur.errors import InputError
from secateur.metrics.roc import Bools, Ints


@dataclass(frozen=True, slots=True)
class TemplatePairs:
    """Templates that are compared.

    Attributes:
        first: ``(P,)`` number of one template of each pair.
        second: ``(P,)`` number of the other.
        same: ``(P,)`` True where both are of one person.
    """

    first: Ints
    second: Ints
    same: Bools


@dataclass(frozen=True, slots=True)
class PoseProtocol:
    """Templates and their comparisons.

    Attributes:
        templates: Numbers of the images of each template.
        comparisons: Pairs of templates for each two poses, among them each pose with itself.
    """

    templates: tuple[tuple[int, ...], ...]
    comparisons: dict[tuple[str, str], TemplatePairs]


def make_pose_protocol(
    images: Iterable[tuple[str, str, int]], images_per_template: int = 5
) -> PoseProtocol:
    """Build templates, and the pairs of templates for each two poses.

    Args:
        images: Identity, pose, and number of each image. The images of one person and pose are
            cut into templates in the order they come; a rest too small for one is not used.
        images_per_template: Images in a template, 5 or 1 in the published protocol.

    Returns:
        Templates and pairs; poses in the order in which they first come.

    Raises:
        InputError: There are fewer than two people, or too few images of a person in a pose for
            two templates.
        ValueError: A template is to have less than one image.
    """
    if images_per_template < 1:
        raise ValueError(f"images_per_template must be at least 1, got {images_per_template}")
    groups: dict[str, dict[str, list[int]]] = {}
    for identity, pose, number in images:
        groups.setdefault(pose, {}).setdefault(identity, []).append(number)
    people = list(dict.fromkeys(person for members in groups.values() for person in members))
    if len(people) < 2:
        raise InputError(f"Verification needs at least two people, got {len(people)}.")
    templates: list[tuple[int, ...]] = []
    numbers: dict[str, list[list[int]]] = {}
    for pose, members in groups.items():
        numbers[pose] = []
        for person in people:
            stretch = members.get(person, [])
            count = len(stretch) // images_per_template
            if count < 2:
                raise InputError(
                    f"'{person}' has {len(stretch)} images in the pose '{pose}', but two templates "
                    f"of {images_per_template} need {2 * images_per_template}."
                )
            numbers[pose].append(list(range(len(templates), len(templates) + count)))
            starts = range(0, count * images_per_template, images_per_template)
            templates += [tuple(stretch[i : i + images_per_template]) for i in starts]
    comparisons = {
        (one, other): _pair_templates(numbers[one], numbers[other], one == other)
        for one, other in itertools.combinations_with_replacement(groups, 2)
    }
    return PoseProtocol(tuple(templates), comparisons)


def _pair_templates(
    ones: list[list[int]], others: list[list[int]], one_pose: bool
) -> TemplatePairs:
    """Pair the templates of two poses, person by person.

    Args:
        ones: Templates of each person in the one pose.
        others: Templates of each person in the other pose.
        one_pose: Whether it is one and the same pose; each pair then comes once.
    """
    genuine: list[tuple[int, int]] = []
    for mine, theirs in zip(ones, others, strict=True):
        genuine += itertools.combinations(mine, 2) if one_pose else itertools.product(mine, theirs)
    first = np.array([templates[0] for templates in ones])
    second = np.array([templates[1] for templates in others])
    row, column = np.nonzero(~np.eye(len(first), dtype=np.bool_))
    pairs = np.concatenate([np.array(genuine), np.stack([first[row], second[column]], axis=1)])
    return TemplatePairs(pairs[:, 0], pairs[:, 1], np.arange(len(pairs)) < len(genuine))
