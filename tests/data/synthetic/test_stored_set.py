from __future__ import annotations

from pathlib import Path

import pytest

from secateur.data.synthetic.stored_set import write_once


def draw(folder: Path) -> None:
    folder.mkdir()
    (folder / "picture.txt").write_text("drawn")


@pytest.mark.parametrize("before", [None, {"pictures": 2}])
def test_of_two_processes_the_first_ones_set_stays(
    tmp_path: Path, before: dict[str, int] | None
) -> None:
    root, record = tmp_path / "set", {"pictures": 1}
    if before is not None:
        write_once(root, before, draw)
    quicker = []

    def draw_slowly(folder: Path) -> None:
        # another process draws the same set and begins to read it
        (tmp_path / "other").mkdir()
        write_once(tmp_path / "other" / "set", record, draw)
        if root.exists():
            root.rename(tmp_path / "other" / "old")
        (tmp_path / "other" / "set").rename(root)
        quicker.append(root.stat().st_ino)
        draw(folder)

    write_once(root, record, draw_slowly)
    assert [root.stat().st_ino] == quicker
    assert (root / "picture.txt").read_text() == "drawn"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "set"]
