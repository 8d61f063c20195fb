from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.datamodules.demo_identities import DemoIdentitiesData
from secateur.datamodules.identities import IdentitiesData
from secateur.datamodules.record_io import RecordIOData
from secateur.errors import InputError
from tests.data.test_insightface_bin import write as write_bin
from tests.data.test_insightface_rec import png, write_people


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "people"
    DemoIdentitiesData(root, n_train=3, n_images=4, n_test=20).prepare_data()
    return root


def identities(root: Path, **options: object) -> IdentitiesData:
    settings = {"pairs": "pairs.txt", "input_size": 40, "num_workers": 0, "holdout": 0.25}
    return IdentitiesData(root, **{**settings, "batch_size": 4, **options})


def test_batches_have_their_shapes(drawn: Path) -> None:
    data = identities(drawn)
    data.setup("fit")
    assert data.n_identities == 3
    assert "9 training pictures of 3 people, 3 held out, verification on 600" in data.describe()
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (4, 3, 40, 40)
    assert labels.shape == (4,)
    batches = list(data.val_dataloader())
    index = torch.cat([batch[1] for batch in batches])
    label = torch.cat([batch[2] for batch in batches])
    assert index[index >= 0].tolist() == list(range(len(data.verified.images)))
    assert label[label >= 0].tolist() == [0, 1, 2]
    assert bool(((index >= 0) != (label >= 0)).all())
    assert [tuple(image.shape) for image in data.validation_images(2)] == [(3, 40, 40)] * 2


def test_epochs_differ_and_repeat(drawn: Path) -> None:
    data = identities(drawn, batch_size=9)
    data.setup()
    loader = data.train_dataloader()
    epochs = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        epochs.append(next(iter(loader))[0])
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[0], epochs[2])


def test_recovery_pictures_are_those_of_the_training_and_no_others(drawn: Path) -> None:
    data = identities(drawn, batch_size=9)
    data.setup("fit")
    pictures = data.recovery_pictures(5)
    assert pictures.shape == (5, 3, 40, 40)
    assert torch.equal(pictures, data.recovery_pictures(5))
    of_training = next(iter(data.train_dataloader()))[0]
    assert all(any(torch.equal(one, other) for other in of_training) for one in pictures)
    assert len(data.recovery_pictures(100)) == 9  # three of twelve are held out


def test_pairs_are_drawn_where_there_is_no_file(drawn: Path) -> None:
    data = identities(drawn, pairs=None, holdout=0.0)
    data.setup()
    assert len(data.held_out) == 0
    assert len(data.pairs) > 600
    assert "test, drawn" in data.describe()


def test_missing_parts_are_one_sentence(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.root is not set.*data.root=/path"):
        identities(None).setup()  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is no folder"):
        identities(tmp_path).setup()
    with pytest.raises(InputError, match=r"data.boxes.train is not set"):
        identities(drawn, boxes={"test": "x.csv"}).setup()
    with pytest.raises(InputError, match="centre"):
        identities(drawn, centre=0.0)
    with pytest.raises(InputError, match=r"data.batch_size must be at least 1"):
        identities(drawn, batch_size=0)
    copy = shutil.copytree(drawn, tmp_path / "copy")
    next(iter((copy / "test").rglob("*.jpg"))).unlink()
    with pytest.raises(InputError, match=r"pictures that .*pairs.txt names are missing"):
        identities(copy).setup()


def test_records_and_verification_set(tmp_path: Path) -> None:
    write_people(tmp_path, [4, 5, 6])
    write_bin(tmp_path / "lfw.bin", ([png(level) for level in range(8)], [True, False] * 2), 4)
    data = RecordIOData(tmp_path, input_size=16, num_workers=0, batch_size=4, holdout=0.02)
    data.setup()
    assert data.n_identities == 3
    assert len(data.held_out) == 3
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (4, 3, 16, 16)
    # the grey level of a picture says whose it is
    assert torch.equal((images[:, 0, 0, 0] * 58.395 + 123.675).round() / 10, labels.float())
    assert np.array_equal(data.pairs.same, [True, False, True, False])
    with pytest.raises(InputError, match=r"data.root is not set"):
        RecordIOData(None).setup()


@pytest.mark.slow
def test_workers_read_the_same_records(tmp_path: Path) -> None:
    write_people(tmp_path, [4, 5])
    write_bin(tmp_path / "lfw.bin", ([png(level) for level in range(4)], [True, False]), 4)
    batches = []
    for workers in (0, 2):
        data = RecordIOData(tmp_path, input_size=16, num_workers=workers, batch_size=3)
        data.setup()
        batches.append(list(data.train_dataloader()))
    for (images, labels), (others, again) in zip(*batches, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, again)


def test_reference_lfw(reference: Path) -> None:
    data = IdentitiesData(
        reference / "data/lfw", pairs="pairs.txt", centre=0.6, holdout=0.0, input_size=64
    )
    data.setup()
    assert data.n_identities == 255
    assert "2,724 training pictures" in data.describe()
    assert len(data.pairs) == 1200
