"""Links and paths on the pages: each leads somewhere. `make docs` checks the site itself."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
MADE = {"configuration.md"}  # by docs/configuration_page.py


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        assert (page.parent / link).exists() or Path(link).name in MADE, link


@pytest.mark.parametrize("page", ["docs/extending.md", "docs/slimming.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text)
    assert named
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "src/secateur" / name).exists(), name


def test_the_configuration_page_holds_every_file() -> None:
    spec = spec_from_file_location("configuration_page", ROOT / "docs" / "configuration_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.configuration_page()
    for path in (ROOT / "conf").rglob("*.yaml"):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first in page, path


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
