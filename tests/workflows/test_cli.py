"""The shell of the commands: help, hints and addresses, each without torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from secateur.workflows.cli import COMMANDS
from secateur.workflows.command_line.arguments import (
    CONF,
    DEBUG,
    hint_for,
    with_debug,
    with_quoted_paths,
)
from secateur.workflows.command_line.help import help_text
from secateur.workflows.config.addresses import current_address, first_address, with_addresses
from secateur.workflows.run_folder import fingerprint

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["train.py", "--help"], 0, "which criterion"),
        (["train.py", "modle=eresfd"], 2, "error: there is no key modle; did you mean model"),
        (["train.py", "model=nope"], 2, "choose model from: eresfd"),
        (["train.py", "trainer.max_epochs=3"], 2, "phases.prune_epochs"),
        (["train.py", "data.batch_size=4", "data.n_pictures=3"], 2, "no key data.n_pictures"),
        (["train.py", "--cfg", "job"], 0, "print_config: false"),
        (["search.py", "debug=fast", "--cfg", "job"], 0, "n_trials: 8"),
        (["search.py", "debug=limit"], 2, "debug=limit is for train"),
        (
            ["detect.py", "source=a,b"],
            2,
            "put quotes around a value that holds a comma, as in source='",
        ),
        (
            ["detect.py", "run=latest", "source=[a.jpg,b.jpg]"],
            2,
            "put several pictures into a folder",
        ),
    ],
)
def test_answers_come_without_torch(arguments: list[str], status: int, said: str) -> None:
    done = run(*arguments)
    imported = [line for line in done.stderr.splitlines() if line.startswith("import time")]
    rest = [line for line in done.stderr.splitlines() if not line.startswith("import time")]
    assert said in done.stdout + "\n".join(rest)
    assert done.returncode == status
    assert not any(line.endswith((" torch", " optuna", " matplotlib")) for line in imported)


@pytest.mark.parametrize(
    ("arguments", "key"), [(["detect.py"], "source"), (["search.py", "target.macs=0.5"], "weights")]
)
def test_a_value_that_a_command_needs_is_asked_for_in_one_line(
    arguments: list[str], key: str
) -> None:
    done = run(*arguments)
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time")]
    assert done.returncode == 2
    assert [line.partition(" (")[0] for line in said] == [
        f"error: {key} is not given: say {key}=VALUE"
    ]


@pytest.mark.parametrize("command", [name for name in COMMANDS if (CONF / f"{name}.yaml").exists()])
def test_help_names_every_key_with_its_comment(command: str) -> None:
    text = help_text(command)
    config = OmegaConf.load(CONF / f"{command}.yaml")
    for key in config:
        if key not in ("defaults", "hydra"):
            assert str(key) in text
    assert ("debug=fast" in text) == ("debug" in text) == (command in DEBUG)
    choices = text.partition("Choices")[2]
    assert not choices or re.search(r":\n  \w", choices)  # a head has something under it


@pytest.mark.parametrize("command", DEBUG)
def test_what_debug_may_say_is_there_and_the_users_own_stays(command: str) -> None:
    for name, file in DEBUG[command].items():
        assert with_debug(command, [f"debug={name}"]) == [f"debug={file}"]
        assert (CONF / "debug" / f"{file}.yaml").is_file()
    assert with_debug(command, ["debug=mine", "rate=0.1"]) == ["debug=mine", "rate=0.1"]


def test_keys_of_other_templates_are_answered() -> None:
    assert hint_for(["rate=0.3"]) is None
    assert "resume=auto" in str(hint_for(["+ckpt_path=x"]))


def test_old_addresses_lead_to_where_things_are() -> None:
    old = "callbacks.sample_pictures.SamplePictures"
    assert current_address(old) == f"secateur.{old}"
    assert current_address(f"secateur.{old}") == f"secateur.{old}"
    assert (
        current_address("callbacks.of_another_project.Mine") == "callbacks.of_another_project.Mine"
    )
    assert first_address(f"secateur.{old}") == old
    assert first_address("secateur.detectors.extd.EXTD") == "secateur.detectors.extd.EXTD"


def test_a_run_from_before_the_move_has_the_same_mark() -> None:
    old = {"data": {"_target_": "datamodules.widerface.WiderFaceData", "root": "x"}, "seed": 0}
    new = with_addresses(old, current_address)
    assert new["data"]["_target_"] == "secateur.datamodules.widerface.WiderFaceData"
    assert fingerprint(OmegaConf.create(old)) == fingerprint(OmegaConf.create(new))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("source=photos/a.jpg", "source=photos/a.jpg"),
        ("source=with space.jpg", "source=with space.jpg"),
        ("source=photos/*.jpg", "source=photos/*.jpg"),
        ("source=fotos/Müller.jpg", "source='fotos/Müller.jpg'"),
        ("source=日本.jpg", "source='日本.jpg'"),
        ("source=a=b.jpg", "source='a=b.jpg'"),
        ("source=br[ack]et.jpg", "source='br[ack]et.jpg'"),
        ("source={curly}.jpg", "source='{curly}.jpg'"),
        ("source=it's.jpg", r"source='it\'s.jpg'"),
        ("output_dir=out (1)", "output_dir='out (1)'"),
        ("data.root=/data/Größe", "data.root='/data/Größe'"),
        ("source='a=b.jpg'", "source='a=b.jpg'"),
        ("source=[a.jpg,b.jpg]", "source=[a.jpg,b.jpg]"),
        ("weights=a.ckpt,b.ckpt", "weights=a.ckpt,b.ckpt"),
        ("output_dir=${paths.outputs}/a", "output_dir=${paths.outputs}/a"),
        (r"source=a\=b.jpg", r"source=a\=b.jpg"),
        ("rates={g1:0}", "rates={g1:0}"),
        ("~source", "~source"),
    ],
)
def test_a_path_is_taken_as_it_is_typed(given: str, expected: str) -> None:
    assert with_quoted_paths([given]) == [expected]
    parsed = OverridesParser.create().parse_override(expected)
    if expected != given:
        assert parsed.value() == given.partition("=")[2]


def test_a_comma_parts_values_unless_a_file_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a,b.jpg").touch()
    given = ["source=a,b.jpg", "source=~/a,b.jpg", "source=c,d.jpg", "run=~/x"]
    assert with_quoted_paths(given) == [
        "source='a,b.jpg'",
        f"source='{tmp_path}/a,b.jpg'",
        "source=c,d.jpg",
        f"run={tmp_path}/x",
    ]
