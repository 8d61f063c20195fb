"""Conditions on the record of a run, such as ``params_slim<60k and criterion=fpgm``.

They are read by a parser of their own and never evaluated as code::

    condition   = conjunction ("or" conjunction)*
    conjunction = negation ("and" negation)*
    negation    = "not" negation | "(" condition ")" | NAME OPERATOR VALUE
    OPERATOR    = "<" | "<=" | ">" | ">=" | "=" | "==" | "!=" | "~"

A value is a number (``60k``, ``40M``, ``1e-3``, ``30%``), a word or a quoted text; ``~`` asks
whether a text is contained.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches

from secateur.errors import InputError

Condition = Callable[[Mapping[str, object]], bool]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<operator><=|>=|==|!=|<|>|=|~)
      | (?P<parenthesis>[()])
      | '(?P<single>[^']*)'
      | "(?P<double>[^"]*)"
      | (?P<word>[^\s()<>=!~'"]+)
    )""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?(?P<suffix>[kMG%]?)", re.IGNORECASE)
_SUFFIX = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "%": 1e-2}
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def parse_condition(text: str, names: Collection[str]) -> Condition:
    """Read a condition.

    Args:
        text: As of the grammar above.
        names: What the records hold; another name is refused.

    Returns:
        A function of a record. A record that lacks the name does not meet a comparison.

    Raises:
        InputError: If the text does not follow the grammar or asks for what no record holds.

    Example:
        >>> smaller = parse_condition("params_slim < 60k and not criterion = l1",
        ...                           ["params_slim", "criterion"])
        >>> smaller({"params_slim": 59_000, "criterion": "fpgm"})
        True
    """
    return _Parser(text, names).parse()


class _Parser:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        self.names = names
        self.tokens = self._tokens()
        self.position = 0

    def parse(self) -> Condition:
        condition = self._any()
        if self.position < len(self.tokens):
            raise self._error(f"does not go on with {self.tokens[self.position][1]!r}")
        return condition

    def _tokens(self) -> list[tuple[str, str]]:
        """Kind and text of each token."""
        tokens, start, text = [], 0, self.text.rstrip()
        while start < len(text):
            match = _TOKEN.match(text, start)
            if match is None:
                raise self._error(f"has an unknown sign at {text[start:].strip()!r}")
            kind = str(match.lastgroup)
            tokens.append((kind, match[kind]))
            start = match.end()
        return tokens

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda run: any(part(run) for part in parts)

    def _all(self) -> Condition:
        parts = [self._negation()]
        while self._take("and"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else lambda run: all(part(run) for part in parts)

    def _negation(self) -> Condition:
        if self._take("not"):
            inner = self._negation()
            return lambda run: not inner(run)
        if self._take("("):
            inner = self._any()
            if not self._take(")"):
                raise self._error("has a parenthesis that is not closed")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        name, sign, value = (self._next(what) for what in ("a name", "an operator", "a value"))
        if sign[0] != "operator":
            raise self._error(f"needs one of < <= > >= = != ~ after {name[1]}, not {sign[1]!r}")
        if name[1] not in self.names:
            close = get_close_matches(name[1], list(self.names), n=1)
            hint = f"did you mean {close[0]}" if close else "choose from " + ", ".join(self.names)
            raise self._error(f"asks for {name[1]}, which no run has; {hint}")
        return _compare(name[1], sign[1], value[1], quoted=value[0] in ("single", "double"))

    def _take(self, text: str) -> bool:
        """Step over a word or parenthesis if it comes next."""
        if self.position < len(self.tokens):
            kind, found = self.tokens[self.position]
            if kind in ("word", "parenthesis") and found == text:
                self.position += 1
                return True
        return False

    def _next(self, wanted: str) -> tuple[str, str]:
        if self.position == len(self.tokens):
            raise self._error(f"ends where {wanted} should follow")
        self.position += 1
        return self.tokens[self.position - 1]

    def _error(self, what: str) -> InputError:
        return InputError(
            f"where={self.text!r} {what}; an example is where='params_slim<60k and criterion=fpgm'"
        )


def parse_number(text: str) -> float | None:
    """Read a number with an optional k, M, G or %; None for what is no number.

    Example:
        >>> parse_number("60k"), parse_number("30%"), parse_number("fpgm")
        (60000.0, 0.3, None)
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    suffix = match["suffix"]
    return float(text.removesuffix(suffix) if suffix else text) * _SUFFIX[suffix.lower()]


def _compare(name: str, sign: str, text: str, *, quoted: bool) -> Condition:
    """A single comparison."""
    wanted = None if quoted else parse_number(text)

    def holds(run: Mapping[str, object]) -> bool:
        value = run.get(name)
        if value is None:
            return False
        if sign == "~":
            return text.lower() in str(value).lower()
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if sign in _ORDER:
            return number and wanted is not None and _ORDER[sign](float(str(value)), wanted)
        if number and wanted is not None:
            same = float(str(value)) == wanted
        else:
            same = str(value).lower() == text.lower()
        return same if sign in ("=", "==") else not same

    return holds
