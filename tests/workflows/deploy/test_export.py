"""What export.py refuses before it loads anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from secateur.errors import InputError
from secateur.workflows.deploy import export as workflow
from secateur.workflows.deploy.sample_pictures import sample_pictures
from secateur.workflows.loading import load_network

CONF = Path(__file__).parents[3] / "conf"
FIXTURES = Path(__file__).parents[2] / "fixtures" / "first_house"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["format=openvino"], "through ONNX: export with format=onnx and run ovc on it"),
        (["format=tflite"], "through ONNX: export with format=onnx and run onnx2tf"),
        (["format=tensorrt"], "through ONNX: export with format=onnx and run trtexec"),
        (["format=coreml"], "through TorchScript: export with format=torchscript and give it to"),
        (["format=docx"], "format=docx does not exist; choose from onnx, executorch"),
        (["quantize=fp16"], "quantize=fp16 does not exist: choose none or int8; half precision"),
        (["format=lite", "quantize=int8"], "quantize=int8 is there for format=onnx and"),
        (["format=lite", "postprocess=true"], "postprocess=true is there for format=onnx, not"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_a_way_on(
    asked: list[str], told: str, tmp_path: Path
) -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("export", ["run=nowhere", f"output_dir={tmp_path / 'new'}", *asked])
    with pytest.raises(InputError) as refusal:
        workflow.export(config)
    assert told in str(refusal.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [("executorch", "executorch", "mobile"), ("onnx", "onnxruntime", "export")],
)
def test_a_package_that_is_not_installed_is_missed_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, kind: str, package: str, extra: str
) -> None:
    monkeypatch.setattr(workflow, "find_spec", lambda name: None if name == package else name)
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("export", ["run=nowhere", f"format={kind}"])
    with pytest.raises(InputError, match=rf"needs {package}, .* pip install 'secateur\[{extra}\]'"):
        workflow.export(config)


@pytest.mark.parametrize("part", ["", "checkpoints/last.ckpt"])
def test_a_run_and_its_checkpoint_are_compared_on_its_own_validation_pictures(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FIXTURES / ("unfinished_run" if part else "finished_run")
    loaded = load_network(run / part)
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("export", [f"run='{run}'"])
    pictures = sample_pictures(config, loaded)
    assert {picture.shape for picture in pictures} == {(480, 640, 3), (321, 437, 3)}
