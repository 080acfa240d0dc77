"""The progress bar of notebooks draws what a run tells, and nothing where there is no notebook."""

from __future__ import annotations

import importlib

import pytest
from IPython import display

from pipeline_core import ProgressBar
from pipeline_core.progress import Stats

MODULE = importlib.import_module("pipeline_core.progress_bar")


class Shown:
    """What a notebook shows below a cell."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def display(self, html: display.HTML, *, display_id: bool) -> Shown:
        assert display_id
        self.drawn.append(html.data)
        return self

    def update(self, html: display.HTML) -> None:
        self.drawn.append(html.data)


@pytest.fixture
def shown(monkeypatch) -> Shown:
    shown = Shown()
    monkeypatch.setattr(display, "display", shown.display)
    monkeypatch.setattr(MODULE, "_is_notebook", lambda: True)
    monkeypatch.setattr(MODULE, "_PAUSE_SECONDS", 0)
    return shown


def test_a_run_that_ends_well_leaves_a_full_bar(shown):
    with ProgressBar("<orders>") as bar:
        bar(Stats(rows_read=10, rows_written=5, rows_rejected=1, bytes_read=1, bytes_total=4))
    begin, middle, end = shown.drawn
    assert "value=" not in begin
    assert 'value="0.2500"' in middle
    assert "10 read, 5 written, 1 rejected" in middle
    assert 'value="1.0000"' in end
    assert end.endswith("done</div>")
    assert "&lt;orders&gt;" in end


def test_a_run_that_fails_leaves_the_bar_where_it_was(shown):
    def interrupted() -> None:
        with ProgressBar("orders") as bar:
            bar(Stats(rows_read=1, rows_total=2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert 'value="0.5000"' in shown.drawn[-1]
    assert "ended by KeyboardInterrupt" in shown.drawn[-1]


def test_without_a_notebook_nothing_is_drawn(monkeypatch, capsys):
    monkeypatch.setattr(display, "display", lambda *_, **__: pytest.fail("It draws"))
    with ProgressBar("orders") as bar:
        bar(Stats(rows_read=1))
    assert capsys.readouterr() == ("", "")
