from __future__ import annotations

from pathlib import Path

import pytest

from secateur.data.vggface2_pose import read_pose_list
from secateur.errors import InputError


def test_ten_pictures_of_each_pose_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"n{p}/{k:04d}.jpg\n" for p in range(2) for k in range(30)))
    found = read_pose_list(path)
    assert len(found) == 60
    assert [found[k] for k in (0, 10, 59)] == [
        ("n0", "frontal", "n0/0000.jpg"),
        ("n0", "three-quarter", "n0/0010.jpg"),
        ("n1", "profile", "n1/0029.jpg"),
    ]


@pytest.mark.parametrize("text", ["", "a/1.jpg\n", "a.jpg\n" * 30, "a/1.jpg\n" * 60])
def test_other_lists_are_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=r"list.txt.*30 pictures"):
        read_pose_list(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_pose_list(tmp_path / "absent.txt")
