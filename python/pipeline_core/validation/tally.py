"""How often each rule was broken, with the first example, over many batches of rows."""

from dataclasses import replace
from typing import NamedTuple

from pipeline_core.validation.verdict import Check

_LONGEST = 80


class Case(NamedTuple):
    """How often a rule is broken, and where first.

    Attributes:
        times: Rows, or files.
        example: What breaks it.
        file: Where that is.
        row: Its row in the file, the first is 1.
    """

    times: int
    example: object
    file: str
    row: int | None = None


class Tally:
    """The checks of one validation."""

    def __init__(self) -> None:
        self._checks: dict[tuple[str, str, str | None], Check] = {}

    def expect(self, rules: str, rule: str, column: str | None = None) -> None:
        """Note a rule that is applied, and may never be broken."""
        self._checks.setdefault((rules, rule, column), Check(rules, rule, column))

    def broken(self, rules: str, rule: str, column: str | None, case: Case) -> None:
        """Count rows, or files, that break a rule."""
        self.expect(rules, rule, column)
        place = (rules, rule, column)
        check = self._checks[place]
        if not check.failed:
            text = None if case.example is None else brief(str(case.example))
            check = replace(check, example=text, file=case.file, row=case.row)
        self._checks[place] = replace(check, failed=check.failed + case.times)

    def checks(self) -> list[Check]:
        """All rules, those that were broken first, the most often broken of them in front."""
        return sorted(self._checks.values(), key=lambda check: -check.failed)


def brief(text: str) -> str:
    """A text that fits into a line."""
    line = " ".join(text.split()) if "\n" in text else text
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
