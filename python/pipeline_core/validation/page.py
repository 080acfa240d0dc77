"""A report as a page of its own, to open in a browser and to send around: no script, and nothing is loaded."""

from collections.abc import Iterable, Sequence
from html import escape

from pipeline_core.report import VerifyReport, counted
from pipeline_core.units import bytes_text, seconds_text
from pipeline_core.validation.verdict import Check, ValidationReport

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #808080; --good: #1a7f37; --bad: #cf222e; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; white-space: nowrap; }
td { overflow-wrap: anywhere; }
td:first-child { white-space: nowrap; }
td:last-child { font-size: .85em; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.badge { color: #fff; border-radius: .4rem; padding: .1rem .6rem; margin-right: .6rem; }
.good { background: var(--good); } .bad { background: var(--bad); }
.facts { color: var(--dim); }
summary { cursor: pointer; font-weight: 600; margin-top: 2rem; }
"""


def of(report: ValidationReport) -> str:
    """The page."""
    title = escape(report.heading())
    badge = '<span class="badge good">passed</span>' if report.ok else '<span class="badge bad">failed</span>'
    facts = (
        f"{report.rows:,} rows in {counted(report.files, 'file')}, {bytes_text(report.bytes)}; "
        f"{report.started_at:%Y-%m-%d %H:%M:%S} UTC, {seconds_text(report.seconds)}"
    )
    parts = [f"<h1>{badge}{title}</h1>", f'<p class="facts">{escape(facts)}</p>']
    if report.failures:
        parts += ["<h2>What failed</h2>", _checks(report.failures)]
    if report.topic:
        parts += ["<h2>Against the topic</h2>", _topic(report.topic)]
    passed = [check for check in report.checks if not check.failed]
    if passed:
        parts.append(_folded(f"{counted(len(passed), 'check')} passed", _passed(passed)))
    if report.columns:
        parts.append(_folded(counted(len(report.columns), "column"), _columns(report)))
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>\n<style>{_STYLE}</style></head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _folded(title: str, table: str) -> str:
    return f"<details><summary>{title}</summary>{table}</details>"


def _checks(checks: Iterable[Check]) -> str:
    rows = [(one.rules, one.column or "", one.rule, one.failed, one.example or "", one.where) for one in checks]
    return _table(("Rules", "Column", "Rule", "Failed", "Example", "Where"), rows)


def _passed(checks: Iterable[Check]) -> str:
    return _table(("Rules", "Column", "Rule"), [(one.rules, one.column or "", one.rule) for one in checks])


def _columns(report: ValidationReport) -> str:
    rows = [
        (one.name, ", ".join(one.types), one.rows, one.nulls, one.empty, one.example or "") for one in report.columns
    ]
    return _table(("Column", "Type", "Rows", "Without a value", "Empty", "Example"), rows)


def _topic(topic: VerifyReport) -> str:
    problems = "".join(f"<li>{escape(problem)}</li>" for problem in topic.problems)
    rows = [
        (part.partition, part.objects, part.rows or 0, part.first_offset, part.last_offset, part.behind)
        for part in topic.partitions
    ]
    table = _table(("Partition", "Files", "Rows", "First offset", "Last offset", "Behind the topic"), rows)
    return f"<p>{escape(topic.heading())}</p><ul>{problems}</ul>{table}"


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = list(rows)
    numeric = [any(isinstance(row[at], int) for row in lines) for at in range(len(names))]
    head = "".join(f"<th{_class(at)}>{escape(name)}</th>" for name, at in zip(names, numeric, strict=True))
    cells = ((f"<td{_class(at)}>{_cell(value)}</td>" for value, at in zip(row, numeric, strict=True)) for row in lines)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _class(is_number: bool) -> str:  # noqa: FBT001 - of a private function
    return ' class="number"' if is_number else ""


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else escape("" if value is None else str(value))
