from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from secateur.data.insightface_rec import RecordFile, read_record_set
from secateur.errors import InputError

MAGIC = struct.pack("<I", 0xCED7230A)


def png(level: int) -> bytes:
    return bytes(cv2.imencode(".png", np.full((8, 8, 3), level, np.uint8))[1])


def data(labels: Sequence[float], content: bytes, number: int) -> bytes:
    """Header, labels and picture, as the format has them."""
    if len(labels) == 1:
        return struct.pack("<IfQQ", 0, labels[0], number, 0) + content
    header = struct.pack("<IfQQ", len(labels), 0.0, number, 0)
    return header + struct.pack(f"<{len(labels)}f", *labels) + content


def record(content: bytes) -> bytes:
    """Frame a record; where it holds the magic number at a multiple of 4, it is cut there."""
    cuts = [i for i in range(0, len(content) - 3, 4) if content[i : i + 4] == MAGIC]
    bounds = [-4, *cuts, len(content)]
    parts = [content[a + 4 : b] for a, b in pairwise(bounds)]
    framed = b""
    for index, part in enumerate(parts):
        flag = 0 if len(parts) == 1 else (1 if index == 0 else 3 if index == len(parts) - 1 else 2)
        framed += MAGIC + struct.pack("<I", flag << 29 | len(part))
        framed += part + b"\0" * (-len(part) % 4)
    return framed


def write(folder: Path, records: dict[int, bytes], n_identities: int) -> Path:
    content, index = b"", ""
    for key, item in records.items():
        index += f"{key}\t{len(content)}\n"
        content += record(item)
    (folder / "train.rec").write_bytes(content)
    (folder / "train.idx").write_text(index)
    (folder / "property").write_text(f"{n_identities},112,112\n")
    return folder


def write_people(folder: Path, counts: Sequence[int], with_ranges: bool = True) -> Path:
    """Person k has counts[k] pictures, all of grey level 10 * k."""
    pictures = [(person, png(10 * person)) for person, n in enumerate(counts) for _ in range(n)]
    records = {
        key: data([float(person)], content, key)
        for key, (person, content) in enumerate(pictures, start=1)
    }
    if with_ranges:
        end = len(pictures) + 1
        bounds = np.cumsum([1, *counts])
        records = {0: data([end, end + len(counts)], b"", 0), **records}
        for person in range(len(counts)):
            key = end + person
            records[key] = data([bounds[person], bounds[person + 1]], b"", key)
    return write(folder, records, len(counts))


@pytest.mark.parametrize("with_ranges", [True, False])
def test_people_are_read_back(tmp_path: Path, with_ranges: bool) -> None:
    found = read_record_set(write_people(tmp_path, [2, 1, 3], with_ranges))
    assert found.n_identities == 3
    assert found.labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert len(found) == 6
    assert [int(found[index].max()) for index in range(6)] == [0, 0, 10, 20, 20, 20]


def test_pictures_that_hold_the_magic_number_are_joined(tmp_path: Path) -> None:
    content = b"abcd" + MAGIC + MAGIC + b"tail" + MAGIC
    assert len(data([1.0], content, 7)) % 4 == 0
    write(tmp_path, {7: data([1.0], content, 7), 9: data([2.0], b"x", 9)}, 3)
    file = RecordFile(tmp_path / "train.rec")
    assert file.read(7).content == content
    assert file.read(9).content == b"x"
    assert file.read(9).labels == (2.0,)
    again = pickle.loads(pickle.dumps(file))  # as a worker gets it
    assert again.read(7).content == content


def test_cut_file_is_one_sentence(tmp_path: Path) -> None:
    folder = write_people(tmp_path, [2, 2], with_ranges=False)
    whole = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(whole[:-30])
    with pytest.raises(InputError, match=r"record 4 of .*train.rec is cut short"):
        read_record_set(folder)
    (folder / "train.rec").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"train.rec is cut short: its index knows a record at"):
        read_record_set(folder)


def test_index_of_another_file_is_one_sentence(tmp_path: Path) -> None:
    folder = write_people(tmp_path, [2, 2], with_ranges=False)
    index = (folder / "train.idx").read_text().splitlines()
    key, offset = index[2].split()
    index[2] = f"{key}\t{int(offset) + 4}"
    (folder / "train.idx").write_text("\n".join(index))
    with pytest.raises(InputError, match=r"record 3 of .* does not begin at byte"):
        read_record_set(folder)
    (folder / "train.idx").write_text("no\tindex\n")
    with pytest.raises(InputError, match="is no index with a key and an offset per line"):
        read_record_set(folder)
    (folder / "train.idx").unlink()
    with pytest.raises(InputError, match=r"train.idx cannot be read"):
        read_record_set(folder)


def test_labels_and_property_must_agree(tmp_path: Path) -> None:
    folder = write_people(tmp_path, [2, 2, 2])
    (folder / "property").write_text("2,112,112")
    with pytest.raises(InputError, match="labels outside 0 to 1"):
        read_record_set(folder)
    (folder / "property").write_text("many")
    with pytest.raises(InputError, match="does not begin with the number of identities"):
        read_record_set(folder)
    (folder / "property").unlink()
    with pytest.raises(InputError, match="property cannot be read"):
        read_record_set(folder)


def test_damaged_records_are_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, {1: b"short", 2: data([0.0], png(3)[:40], 2)}, 1)
    file = RecordFile(tmp_path / "train.rec")
    with pytest.raises(InputError, match=r"record 1 of .* has no header"):
        file.read(1)
    with pytest.raises(InputError, match="has no record 5"):
        file.read(5)
    write(tmp_path, {2: data([0.0], png(3)[:40], 2)}, 1)
    with pytest.raises(InputError, match=r"record 2 of .* is not a readable picture"):
        read_record_set(tmp_path)[0]
    lacking = MAGIC + struct.pack("<I", 1 << 29 | 4) + b"abcd"
    (tmp_path / "train.rec").write_bytes(lacking + record(b"whole and well, so read as a part"))
    (tmp_path / "train.idx").write_text("1\t0\n")
    with pytest.raises(InputError, match="lacks a part"):
        RecordFile(tmp_path / "train.rec").read(1)


def test_a_range_larger_than_the_file_takes_no_memory(tmp_path: Path) -> None:
    far = 1 << 38
    records = {0: data((2.0, 3.0), b"", 0), 1: data((0.0,), png(1), 1)}
    records |= {2: data((1.0, float(far)), b"", 2), far: data((0.0,), png(1), 3)}
    with pytest.raises(InputError, match="is no range of pictures"):
        read_record_set(write(tmp_path, records, 1))
