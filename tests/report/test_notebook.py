"""The bar in a real kernel: what a saved notebook holds of it."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

IMPORTS = """
import threading
from sparkdl.events import *
from sparkdl.report.progress import progress_listener

def play(*events, title="", leave=True, close=True):
    listener = progress_listener(1, title=title, leave=leave)
    started = [PhaseStarted("materialize"), TrainingStarted(2, 20, 10, 1000, "cpu")]
    def hear():
        for event in [*started, *events]:
            listener.on_event(event)
    # The events of a rank come from another thread.
    thread = threading.Thread(target=hear)
    thread.start()
    thread.join()
    if close:
        listener.close()

def epoch(number):
    return EpochEnded(number, {"epoch": number, "loss": 1 / number, "seconds": 2.0, "rows_per_second": 500.0})

done = [epoch(20), PhaseStarted("build"), FitEnded({}, None, 20)]
"""
RUNNING = """
import time
listener = progress_listener(1)
listener.on_event(TrainingStarted(2, 20, 10, 1000, "cpu"))
time.sleep(0.2)
listener.on_event(StepEnded(10, 5, 10, 0.25, 500.0))
listener.on_event(UserMessage(1, "hello"))
"""
CELLS = {
    "imports": IMPORTS,
    "done": "play(*done)",
    "stopped": "play(epoch(7), FitEnded({}, None, 7, 5))",
    "failed": "play(epoch(7), FitEnded({}, 'the loss is <NaN>'))",
    "running": RUNNING,
    "search": "for n in (1, 2, 3):\n    play(*done, title=f'fit {n} of 3', leave=False)",
    "search and best": "play(*done, title='fit 1 of 1', leave=False)\nplay(*done)",
    "search that failed": "play(epoch(7), FitEnded({}, 'no'), title='fit <1> of 3', leave=False)",
    "in a thread pool": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    list(pool.map(lambda n: play(*done, title=f'fit {n}', leave=False), range(6)))"
    ),
}
GREEN, RED, BLUE = "#2e7d32", "#c62828", "#1976d2"


@pytest.fixture(scope="module")
def cells() -> dict[str, list[Any]]:
    """The outputs of each cell."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS.values()])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    saved = nbformat.reads(nbformat.writes(notebook), as_version=4)
    return {name: cell["outputs"] for name, cell in zip(CELLS, saved.cells, strict=True)}


def bar(outputs: list[Any]) -> tuple[str, str]:
    """Return the HTML and the text of the only output."""
    (output,) = outputs
    return output["data"]["text/html"], output["data"]["text/plain"]


def test_one_output_holds_the_last_state(cells: dict[str, list[Any]]) -> None:
    html, text = bar(cells["done"])
    assert text.splitlines() == [
        "training on 2 ranks (cpu): 20 x 10 steps, 1,000 rows an epoch",
        "done in 0:00",
        "epoch 20/20: loss 0.05, 2.0 s, 500 rows/s",
    ]
    assert all(line in html for line in text.splitlines())
    assert f"width:100.0%;height:100%;background-color:{GREEN}" in html


def test_a_training_that_was_stopped_is_complete_and_says_so(cells: dict[str, list[Any]]) -> None:
    html, text = bar(cells["stopped"])
    assert text.splitlines()[1:] == [
        "done in 0:00",
        "epoch 7/20: loss 0.1429, 2.0 s, 500 rows/s",
        "stopped after epoch 7, weights of epoch 5",
    ]
    assert f"width:100.0%;height:100%;background-color:{GREEN}" in html


def test_a_fit_that_failed_is_red_where_it_stopped(cells: dict[str, list[Any]]) -> None:
    html, text = bar(cells["failed"])
    assert text.splitlines()[1] == "failed after 0:00"
    assert text.splitlines()[-1] == "fit failed: the loss is <NaN>"
    assert f"width:35.0%;height:100%;background-color:{RED}" in html
    assert "the loss is &lt;NaN&gt;" in html


def test_the_state_on_the_way_and_lines_of_ranks(cells: dict[str, list[Any]]) -> None:
    shown, line = cells["running"]
    html, text = bar([shown])
    assert text.splitlines()[1:] == ["48%, 0:00", "epoch 10/20 step 5/10: loss 0.25, 500 rows/s"]
    assert f"background-color:{BLUE}" in html
    assert (line["name"], line["text"]) == ("stderr", "[1] hello\n")


def test_the_bars_of_a_search_are_removed_and_share_one_place(cells: dict[str, list[Any]]) -> None:
    assert bar(cells["search"]) == ("", "")
    assert len(cells["in a thread pool"]) <= 2
    assert all(bar([output]) == ("", "") for output in cells["in a thread pool"])


def test_the_fit_after_a_search_takes_its_place_and_stays(cells: dict[str, list[Any]]) -> None:
    html, text = bar(cells["search and best"])
    assert text.startswith("training on 2 ranks")
    assert GREEN in html


def test_a_fit_of_a_search_that_failed_stays_with_its_name(cells: dict[str, list[Any]]) -> None:
    html, text = bar(cells["search that failed"])
    assert text.splitlines()[0] == "fit <1> of 3"
    assert "fit &lt;1&gt; of 3" in html
    assert RED in html
