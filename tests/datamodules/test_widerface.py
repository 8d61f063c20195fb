"""WiderFaceData: loaders, reproducibility over workers and epochs, and bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from secateur.data.synthetic.face_set import EVENT, write_drawn_set
from secateur.data.wider_layout import find_layout
from secateur.datamodules.widerface import WiderFaceData
from secateur.errors import InputError

OPTIONS = {"input_size": 32, "batch_size": 4, "num_workers": 0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "set"
    write_drawn_set(folder, n_train=10, n_val=7)
    return folder


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    write_drawn_set(tmp_path / "set", n_train=3, n_val=2)
    return tmp_path / "set"


def make(root: Path | None, **options: object) -> WiderFaceData:
    return WiderFaceData(root, **{**OPTIONS, **options})  # type: ignore[arg-type]


def epochs(data: WiderFaceData, count: int) -> list[list[bytes]]:
    """Bytes of every image of some epochs of one loader, in the order of the loader."""
    loader = data.train_dataloader()
    result = []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        result.append([image.numpy().tobytes() for images, _ in loader for image in images])
    return result


def test_loaders(root: Path) -> None:
    data = make(root, eval_batch_size=3)
    data.prepare_data()
    data.setup("fit")
    images, faces = next(iter(data.train_dataloader()))
    assert images.shape == (4, 3, 32, 32)
    assert len(faces) == 4
    names = []
    for batch in data.val_dataloader():
        assert len({picture.image.shape for picture in batch}) == 1
        names += [picture.name for picture in batch]
    assert sorted(names) == sorted(item.name for item in data.validation_pictures().annotations)
    assert [image.shape[0] for image in data.validation_images(2)] == [3, 3]


@pytest.mark.filterwarnings("ignore:.*os.fork:DeprecationWarning")
def test_workers_and_epochs_differ_and_reproduce(root: Path) -> None:
    """albumentations 2.0.8 gives every worker and epoch the same draws (AlbumentationsX #266)."""
    plain = make(root, batch_size=2)
    plain.setup("fit")
    expected = epochs(plain, 2)
    assert len({image for epoch in expected for image in epoch}) == 20  # nothing twice
    workers = make(root, batch_size=2, num_workers=2)
    workers.setup("fit")
    assert workers.train_dataloader().persistent_workers
    pl.seed_everything(123, workers=True)  # must not matter
    assert epochs(workers, 2) == expected
    other = make(root, batch_size=2, seed=1)
    other.setup("fit")
    assert not set(epochs(other, 1)[0]) & set(expected[0])


class EpochRecorder(pl.LightningModule):
    """Keeps a checksum of every training image that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: dict[int, list[float]] = {}

    def training_step(self, batch: tuple[Tensor, list[Tensor]], batch_idx: int) -> Tensor:
        images, _ = batch
        sums = images.double().abs().sum(dim=(1, 2, 3)).tolist()
        self.seen.setdefault(self.current_epoch, []).extend(sums)
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(data: WiderFaceData, max_epochs: int, path: Path, resume: Path | None) -> EpochRecorder:
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )
    task = EpochRecorder()
    trainer.fit(task, datamodule=data, ckpt_path=resume)
    trainer.save_checkpoint(path)
    return task


@pytest.mark.filterwarnings("ignore")
def test_lightning_sets_the_epoch_also_on_resume(root: Path, tmp_path: Path) -> None:
    whole = fit(make(root), 3, tmp_path / "whole.ckpt", None).seen
    assert [len(whole[epoch]) for epoch in range(3)] == [10, 10, 10]
    assert len({value for epoch in whole.values() for value in epoch}) == 30
    fit(make(root), 2, tmp_path / "part.ckpt", None)
    resumed = fit(make(root, num_workers=1), 3, tmp_path / "rest.ckpt", tmp_path / "part.ckpt").seen
    assert resumed == {2: whole[2]}


def test_holdout(root: Path) -> None:
    data = make(root, holdout=0.3)
    data.setup("fit")
    kept = {item.name for item in data.training_pictures().annotations}
    held = {picture.name for batch in data.holdout_dataloader() for picture in batch}
    assert (len(kept), len(held)) == (7, 3)
    assert not kept & held
    assert "3 held out" in data.describe()


def test_setup_for_evaluation_needs_no_training_pictures(own_root: Path) -> None:
    for path in find_layout(own_root).images("train").rglob("*.jpg"):
        path.unlink()
    data = make(own_root)
    data.setup("validate")
    assert data.describe().endswith("validation on 2 of 2 official validation pictures")
    with pytest.raises(RuntimeError, match="setup"):
        data.training_pictures()


def test_without_official_lists(own_root: Path) -> None:
    for path in (own_root / "ground_truth").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"data.official_lists=false"):
        make(own_root).setup("validate")
    data = make(own_root, official_lists=False)
    data.setup("validate")
    assert data.coverage == "no official lists, 2 others (setting unlisted)"


def test_missing_pictures_are_counted_and_the_first_named(own_root: Path) -> None:
    folder = find_layout(own_root).images("train") / EVENT
    for name in ("0_Drawn_Faces_00001.jpg", "0_Drawn_Faces_00002.jpg"):
        (folder / name).unlink()
    message = r"2 of 3 pictures listed in .* the first is 0--Drawn_Faces/0_Drawn_Faces_00001.jpg"
    with pytest.raises(InputError, match=message):
        make(own_root).setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "data.batch_size must be at least 1"),
        ({"eval_batch_size": 0}, "data.eval_batch_size must be at least 1"),
        ({"num_workers": -1}, "data.num_workers must be at least 0"),
        ({"augmentation": {"flip_probability": 2}}, "augmentation.flip_probability"),
    ],
)
def test_bad_numbers(root: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(root, **options)


def test_root_not_set_or_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.root is not set: give the folder"):
        make(None).setup("fit")
    with pytest.raises(InputError, match="does not exist"):
        make(tmp_path / "nowhere").setup("fit")


def test_coverage_of_the_real_set(reference: Path) -> None:
    data = make(reference / "data" / "widerface_mini")
    data.setup("fit")
    assert data.coverage == (
        "16 of 3,226 official validation pictures, 100 others (setting unlisted)"
    )
    assert "619 training pictures" in data.describe()
