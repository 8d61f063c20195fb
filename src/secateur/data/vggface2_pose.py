"""The list of pictures of VGGFace2-Pose: which people, in which poses."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from secateur.errors import InputError
from secateur.readers import read_text

POSES = ("frontal", "three-quarter", "profile")

PER_POSE = 10


def read_pose_list(path: Path) -> list[tuple[str, str, str]]:
    """Read ``test_posetemp_imglist.txt`` as VGGFace2 ships it.

    It names 30 pictures of each person one after the other, such as ``n000001/0009_01.jpg``: ten
    frontal ones, ten from three quarters, ten in profile.

    Args:
        path: The file.

    Returns:
        Identity, pose and name of each picture.

    Raises:
        InputError: If there is no such file, or it holds something else.
    """
    remedy = "give VGGFace2's test_posetemp_imglist.txt as data.templates"
    names = read_text(path, remedy).split()
    if unprintable := next((name for name in names if not name.isprintable()), None):
        raise InputError(f"{path} has the name {unprintable[:40]!r}, which is none: {remedy}")
    if outside := next((name for name in names if ".." in PurePosixPath(name).parts), None):
        raise InputError(f"{path} has the name {outside[:40]!r}, which leaves its folder: {remedy}")
    size = PER_POSE * len(POSES)
    people = [name.rpartition("/")[0] for name in names]
    for start in range(0, len(names), size):
        group = people[start : start + size]
        if len(group) < size or len(set(group)) > 1 or not group[0]:
            raise InputError(
                f"{path}, line {start + 1}: here {size} pictures PERSON/PICTURE of one person "
                f"should begin, {PER_POSE} in each of {len(POSES)} poses"
            )
    if len(set(people)) * size != len(names) or not names:
        raise InputError(f"{path} should name {size} pictures of each of several people, once")
    if len(set(names)) < len(names):
        raise InputError(f"{path} names a picture twice: {remedy}")
    poses = [POSES[number % size // PER_POSE] for number in range(len(names))]
    return list(zip(people, poses, names, strict=True))
