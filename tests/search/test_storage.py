"""Tests of storages: a journal, and a real PostgreSQL that is started for the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from secateur.errors import InputError
from secateur.search.study import open_storage
from tests.search.toy import toy_assignment

PROGRAM = Path(__file__).parent / "run_toy.py"


def _postgres_programs() -> Path | None:
    """Folder of initdb and pg_ctl."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if folders:
        return folders[-1]
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """URL of a database in a throw-away cluster, reached through a socket."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: secateur[cluster]")
    programs = _postgres_programs()
    if programs is None or not (programs / "initdb").exists():
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    # PostgreSQL refuses to run as root.
    user: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        name = "postgres" if "postgres:" in Path("/etc/passwd").read_text() else "nobody"
        shutil.chown(folder, name)
        user = ["runuser", "-u", name, "--"]

    def run(program: str, *arguments: str) -> None:
        command = [*user, str(programs / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    data = str(folder / "data")
    run("initdb", "-D", data, "-U", "secateur", "-A", "trust", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://secateur@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_two_searches_on_one_postgresql_study(postgresql: str, tmp_path: Path) -> None:
    n_trials = 40
    arguments = [str(tmp_path), str(n_trials), "1", "0.02", postgresql]
    searches = [subprocess.Popen([sys.executable, str(PROGRAM), *arguments]) for _ in range(2)]
    assert [search.wait(400) for search in searches] == [0, 0]
    study = toy_assignment(tmp_path, n_trials, storage=postgresql).open()
    assert study.counts().spent == n_trials
    assert study.counts().running == study.counts().waiting == 0
    points = [tuple(trial.params.items()) for trial in study.trials()]
    assert len(set(points)) == len(points) == n_trials
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(set(lines)) == len(lines) == 2 * n_trials
    assert len({line.split()[1] for line in lines}) == 2


def test_journal_is_made_with_its_folder(tmp_path: Path) -> None:
    job = toy_assignment(tmp_path, 1, storage=str(tmp_path / "new" / "study.journal"))
    assert job.open().counts().spent == 0
    assert (tmp_path / "new" / "study.journal").exists()


@pytest.mark.parametrize(
    "url", ["postgresql://nobody@127.0.0.1:1/none", "nosuchdatabase://host/name"]
)
def test_a_database_that_is_not_there(url: str) -> None:
    with pytest.raises(InputError, match="storage="):
        open_storage(url)
