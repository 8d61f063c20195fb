"""MODEL_CARD.md: what a network is, what it was measured at, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from secateur.files import atomic_write


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The parts of a model card.

    Attributes:
        title: Name of the network.
        summary: One paragraph: what it is.
        facts: What it is made of, by label.
        data: What it was trained on.
        recipe: How, by label.
        figures: Figure and value, with the conditions in ``conditions``.
        conditions: Under which the figures were measured.
        limits: What it should not be used for, one sentence each.
        license: Of the starting weights, or that there were none.
        usage: Commands and code that run it.
    """

    title: str
    summary: str
    facts: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    recipe: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[tuple[str, str]] = ()
    conditions: str = ""
    limits: Sequence[str] = ()
    license: str = ""
    usage: Sequence[str] = ()


def write_model_card(path: Path, card: ModelCard) -> Path:
    """Write a card as Markdown; returns the file."""
    parts = [f"# {card.title}", card.summary, _table(("", ""), list(card.facts.items()))]
    if card.data:
        parts += ["## Data", card.data]
    if card.recipe:
        parts += ["## Recipe", _table(("setting", "value"), list(card.recipe.items()))]
    if card.figures:
        parts += ["## Figures", card.conditions, _table(("figure", "value"), list(card.figures))]
    if card.limits:
        parts += ["## Limits", "\n".join(f"- {sentence}" for sentence in card.limits)]
    if card.license:
        parts += ["## License", card.license]
    if card.usage:
        parts += ["## How to run it", "\n\n".join(f"```\n{text}\n```" for text in card.usage)]
    return atomic_write(path, "\n\n".join(part for part in parts if part) + "\n")


def _table(header: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    """A table of two columns; nothing without rows."""
    if not rows:
        return ""
    lines = [f"| {header[0]} | {header[1]} |", "|---|---|"]
    lines += [f"| {left} | {right.replace('|', '/')} |" for left, right in rows]
    return "\n".join(lines)
