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
        figures: Heads, and under them a label and values in every row.
        conditions: Under which the figures were measured, or why there are none.
        remarks: What else is to be known about the figures, one paragraph each.
        limits: What it should not be used for, one sentence each; the first one goes to the top
            where it is in bold.
        license: Of the starting weights, or that there were none.
        usage: Commands and code that run it.
        usage_remark: Where they are given.
    """

    title: str
    summary: str
    facts: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    recipe: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[tuple[str, ...]] = ()
    conditions: str = ""
    remarks: Sequence[str] = ()
    limits: Sequence[str] = ()
    license: str = ""
    usage: Sequence[str] = ()
    usage_remark: str = ""


def write_model_card(path: Path, card: ModelCard) -> Path:
    """Write a card as Markdown; returns the file."""
    warning = [limit for limit in card.limits[:1] if limit.startswith("**")]
    parts = [f"# {card.title}", *warning, card.summary]
    if card.facts:
        parts.append(_table([("", ""), *card.facts.items()]))
    if card.data:
        parts += ["## Data", card.data]
    if card.recipe:
        parts += ["## Recipe", _table([("step", ""), *card.recipe.items()])]
    if card.figures or card.conditions:
        parts += ["## Figures", card.conditions, _table(card.figures), *card.remarks]
    if card.limits:
        parts += ["## Limits", "\n".join(f"- {sentence}" for sentence in card.limits)]
    if card.license:
        parts += ["## License", card.license]
    if card.usage:
        parts += ["## How to run it", card.usage_remark]
        parts += [f"```{_language(text)}\n{text}\n```" for text in card.usage]
    return atomic_write(path, "\n\n".join(part for part in parts if part) + "\n")


def _language(text: str) -> str:
    return "python" if text.startswith("from ") else "bash"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """A table, heads first, numbers to the right; nothing without rows."""
    if not rows:
        return ""
    numbers = len(rows[0]) > 2
    line = "|---|" + ("---:|" if numbers else "---|") * (len(rows[0]) - 1)
    cells = [[cell.replace("|", "/") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], line, *lines[1:]])
