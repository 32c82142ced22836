"""Define every column that a table can have: its title, its help text, and the format of its values.

To add a column, add one line to ``_COLUMNS``. CONTRIBUTING.md names what else a column of the table of layers needs.
Tables, CSV files, the command line and the app refer to columns by their keys.

Tests: tests/records/test_columns.py, tests/records/test_plan_table.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nes_lab.errors import OptionError, closest
from nes_lab.text import NO_VALUE, format_bytes, format_percent, format_shape, format_share, format_value

__all__ = ["STYLES", "Column", "Style", "columns", "madds_as", "ms_as", "number_column"]

Style = Literal[
    "text",
    "count",
    "residual",
    "ms",
    "seconds",
    "share",
    "percent",
    "accuracy",
    "progress",
    "tiny",
    "bytes",
    "shape",
    "curve",
    "date",
]

STYLES: Mapping[Style, Callable[[Any], str]] = {
    "text": str,
    "count": format_value,
    "residual": lambda value: f"{value:.3f}",
    "ms": lambda value: f"{value:.3f}",
    "seconds": lambda value: f"{value:.2f}",
    "share": format_share,
    "percent": lambda value: f"{value:.2f}",
    "accuracy": format_percent,
    "progress": lambda value: format_share(value, digits=0),
    "tiny": lambda value: f"{value:.0e}",
    "bytes": lambda value: format_bytes(value) if value else NO_VALUE,
    "shape": format_shape,
    "curve": lambda values: " ".join(map(format_value, values)),
    "date": lambda value: f"{value:%Y-%m-%d %H:%M}",
}
"""Style of a column -> function that formats its values. A style has a fixed number of decimals, so that numbers align."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        key: Key of the column's value in a row.
        title: Title at the head of the column.
        help: One sentence about the values, for tooltips.
        style: Name of the format of the values, such as ``ms`` or ``bytes``.
        empty: Text to show where a row has no value.
        mark: Function that takes a row and returns a text to show after the value, such as a star. None: show only the value.
    """

    key: str
    title: str
    help: str
    style: Style = "text"
    empty: str = ""
    mark: Callable[[Mapping[str, Any]], str] | None = None

    @property
    def heading(self) -> str:
        """Title for pages of the app: it begins with a capital letter and names the unit.

        Examples:
            >>> [column.heading for column in columns("madds", "top1", "latency_ms", "label")]
            ['MAdds', 'Top-1, %', 'Time of one image, ms', 'Label']
        """
        if self.key not in _BY_KEY and not self.key.startswith(("madds_", "ms_")):
            return self.title  # such as the label of a run
        title = _HEADINGS.get(self.key) or " ".join(_WORDS.get(word, word) for word in self.title.split(" "))
        return title[:1].upper() + title[1:]

    @property
    def is_number(self) -> bool:
        """True if the values of the column are numbers, not text or shapes. Tables align numbers on the right."""
        return self.style not in ("text", "shape")

    def cell(self, row: Mapping[str, Any]) -> str:
        """Return the text that the column shows in a given row of the table."""
        value = row.get(self.key)
        if value is None or value == "":
            return self.empty
        if isinstance(value, str):
            return value + (self.mark(row) if self.mark else "")
        return STYLES[self.style](value) + (self.mark(row) if self.mark else "")


_WORDS = {"madds": "MAdds", "madds,": "MAdds,"}
_HEADINGS = {
    "top1": "Top-1, %",
    "top5": "Top-5, %",
    "best_top1": "Best top-1, %",
    "latency_ms": "Time of one image, ms",
    "median_ms": "Median time, ms",
    "p90_ms": "90th percentile of the time, ms",
    "low_ms": "Lower quartile of the time, ms",
    "high_ms": "Upper quartile of the time, ms",
    "seconds": "Time, s",
    "stored_bytes": "Size of the weights",
    "run": "Id of the run",
    "id": "Id of the run",
    "curve": "Validation",
    "lr": "Learning rate",
}
"""Key of a column -> its heading in the app, where it is not the title with a capital letter."""

_COLUMNS = (
    Column("name", "layer", "Name of the layer in the model.", empty="(model)"),
    Column("kind", "kind", "Kind of the layer."),
    Column("weight_shape", "weight", "Shape of the dense weight.", "shape", empty=NO_VALUE),
    Column("epitome_shape", "epitome", "Shape of the epitome; none if the layer is dense.", "shape", empty=NO_VALUE),
    Column("output_channels", "output channels", "First and last output channel of the patch."),
    Column("input_channels", "input channels", "First and last input channel of the patch, within a group."),
    Column("window", "window", "Number of the window, from 0; a patch is a weighted sum of its windows.", "count"),
    Column(
        "cell_in_window",
        "cell in window",
        "Place of the cell in the window, from 0, which is a place in the patch.",
        "count",
    ),
    Column("alpha", "factor", "Factor by which the window is multiplied.", "residual", empty=NO_VALUE),
    Column("routing", "routing", "How the starting indices are set.", empty="dense"),
    Column("ratio", "ratio", "Params after compression, as a share of those before.", "share"),
    Column("params", "params", "Stored numbers.", "count"),
    Column("params_dense", "params, dense", "Stored numbers of the dense layer.", "count"),
    Column("madds", "madds", "Multiply-adds of one forward of the example input.", "count"),
    Column("madds_dense", "madds, dense", "Multiply-adds of the dense layer.", "count"),
    Column(
        "stored_bytes", "stored bytes", "Bytes of its parameters and persistent buffers in a file.", "bytes", NO_VALUE
    ),
    Column("stored_bytes_dense", "stored bytes, dense", "Bytes of the dense layer in a file.", "bytes", NO_VALUE),
    Column("execution", "execution", "The execution plan that computes the layer.", empty="dense"),
    Column("reason", "why dense", "Why the layer stays dense."),
    Column("why", "why", "Why the layer is dense, or as large as it is."),
    Column("unavailable", "not available", "Execution plans that cannot run the layer, and why."),
    Column("residual_before", "residual before", "||W - T(E)|| / ||W|| with the plan's starts.", "residual"),
    Column("residual_after", "residual after", "||W - T(E)|| / ||W|| of the fitted layer.", "residual"),
    Column(
        "error_before",
        "output error before",
        "Relative error of the layer's output with the plan's starts.",
        "residual",
        empty=NO_VALUE,
    ),
    Column(
        "error_after",
        "output error after",
        "Relative error of the output of the fitted layer.",
        "residual",
        empty=NO_VALUE,
    ),
    Column(
        "cost",
        "cost",
        "Increase of the loss, or a measure of the residual, by this epitome; higher is worse.",
        "residual",
    ),
    Column("residual", "residual", "||W - T(E)|| / ||W|| of the nearest epitome.", "residual"),
    Column(
        "loss_increase",
        "loss increase",
        "Increase of the loss if only this layer is compressed.",
        "residual",
        empty=NO_VALUE,
    ),
    Column("step", "step", "Training steps done.", "count"),
    Column("epoch", "epoch", "Number of the epoch, from 1.", "count"),
    Column("loss", "loss", "Mean loss.", "residual"),
    Column("lr", "learning rate", "Learning rate of the step.", "count"),
    Column("images_per_s", "images/s", "Training speed in images per second.", "count"),
    Column("cpu_percent", "CPU %", "Share of all processor cores that the training took.", "percent"),
    Column("memory_bytes", "memory", "Memory of the training process.", "bytes"),
    Column("memory_percent", "memory %", "Share of the machine's memory that the process took.", "percent"),
    Column("gpu_memory_bytes", "GPU memory", "Memory that torch reserved on the GPU.", "bytes"),
    Column("gpu_memory_percent", "GPU memory %", "Share of the GPU's memory that torch reserved.", "percent"),
    Column("top1", "top-1 %", "Share of correct predictions on the validation split.", "percent"),
    Column("best_top1", "best top-1 %", "Highest top-1 of all evaluations.", "percent"),
    Column("ema_top1", "averaged top-1 %", "Top-1 of the network with averaged weights.", "percent"),
    Column("best_ema_top1", "best averaged top-1 %", "Highest top-1 of the network with averaged weights.", "percent"),
    Column(
        "top5", "top-5 %", "Share of labels among the five most likely classes, on the validation split.", "percent"
    ),
    Column("latency_ms", "latency ms", "Median time of one forward, on the machine that trained it.", "ms"),
    Column("run", "run", "Id of the run."),
    Column("label", "label", "Name of the run, for people."),
    Column("id", "run", "Id of the run."),
    Column("dataset", "data set", "Data set it was trained on."),
    Column("width", "width", "Width of the backbone, as a multiple of its default.", "count"),
    Column("seed", "seed", "Seed of everything drawn at random."),
    Column("extended_from", "extended from", "Where the run was given more epochs than planned."),
    Column("scope", "scope", "Whether starting indices belong to an axis (separable) or to a patch (joint)."),
    Column("group", "group", "Sweep or demo that the run belongs to."),
    Column("tags", "tags", "Words that you gave the run."),
    Column("note", "note", "Your text about the run."),
    Column("state", "state", "What the run is doing."),
    Column("progress", "progress", "Steps done, as a share of all.", "progress"),
    Column("time_left", "time left", "Estimated time until the training ends.", empty=NO_VALUE),
    Column("curve", "curve", "Top-1, or the run's first metric, in its validations.", "curve"),
    Column(
        "budget", "budget", "Limits of the compression, in total or as a share of the dense network.", empty=NO_VALUE
    ),
    Column("started", "created", "Time at which the run was created.", "date"),
    Column(
        "duration",
        "duration",
        "Time of training in hours, minutes and seconds; of an unfinished run, from its first to its latest measurement.",
        empty=NO_VALUE,
    ),
    Column("place", "queue", "Place of the run in the order of the queue.", "count", empty=NO_VALUE),
    Column("disk", "disk", "Size of all files of the run.", "bytes", empty=NO_VALUE),
    Column("age", "age", "Time since the run was created."),
    Column("best", "", "A star marks the Pareto front."),
    Column("trial", "trial", "Options of the trial."),
    Column("setting", "mean over seeds", "Options that the seeds share."),
    Column("seeds", "seeds", "Finished trials of the setting.", "count"),
    Column("backbone", "backbone", "Name of the model."),
    Column("family", "family", "Family of models in timm."),
    Column("side", "input side", "Side of the network's own input in pixels, or its length in samples.", "count"),
    Column(
        "published_top1",
        "published top-1",
        "Top-1 on ImageNet as reported by timm for its default weights, at the input side of this row in pixels. The numbers are from "
        "results/results-imagenet.csv of huggingface/pytorch-image-models, commit 7479d45, retrieved 2026-11-29. "
        "A dash: the file does not list these weights.",
        "accuracy",
        empty=NO_VALUE,
    ),
    Column("pretrained", "pretrained", "Whether weights can be downloaded."),
    Column("result", "result", "Outcome of the check."),
    Column("agreement", "agreement", "Largest difference of outputs, relative to the largest output.", "tiny"),
    Column("recipe", "recipe", "Name of the recipe."),
    Column("variant", "variant", "Variant of the recipe."),
    Column("training", "training", "What the variant trains."),
    Column("split", "split", "Part of the data set."),
    Column("examples", "examples", "Number of examples.", "count"),
    Column("classes", "classes", "Classes with an example.", "count"),
    Column("per_class", "min, median, max", "Smallest, median and largest number of examples per class."),
    Column("decoded", "decoded", "Examples that were read and decoded.", "count"),
    Column("sizes", "sizes", "Most frequent sizes."),
    Column("modes", "modes", "Color modes or sample rates, and how many examples have each."),
    Column("mean", "mean", "Mean per channel."),
    Column("std", "std", "Standard deviation per channel."),
    Column("starts", "starts", "Where the starting indices come from."),
    Column("method", "method", "How the epitome was fitted."),
    Column("seconds", "s", "Seconds it took.", "seconds"),
    Column("choice", "choice", "The execution plan chosen."),
    Column("median_ms", "median ms", "Median time of one forward.", "ms"),
    Column("p90_ms", "p90 ms", "90th percentile of the time of one forward.", "ms"),
    Column("low_ms", "from ms", "Lower quartile: a quarter of the times are shorter.", "ms"),
    Column("high_ms", "to ms", "Upper quartile: a quarter of the times are longer.", "ms"),
    Column("repeats", "repeats", "Timed forwards.", "count"),
    Column("path", "file", "Path of the file."),
    Column("format", "format", "Format of the file."),
    Column("form", "form", "Whether the file holds plain layers (materialized) or epitomes (factored)."),
    Column("file_bytes", "file size", "Size of the file.", "bytes"),
    Column(
        "largest_difference", "largest difference", "Largest difference from PyTorch's outputs.", "tiny", empty=NO_VALUE
    ),
    Column("exported_ms", "ms a call", "Median time of one call of the file.", "ms", empty=NO_VALUE),
    Column("torch_ms", "PyTorch ms a call", "Median time of one call of the PyTorch model.", "ms", empty=NO_VALUE),
    Column("field", "field", "Name of the field."),
    Column("value", "value", "Value of the field."),
    Column("axis", "axis", "Axis of the weight."),
    Column("starts_list", "starts (cells)", "Positions in the epitome at which patches begin."),
    Column("batch", "batch", "Images in the input.", "count"),
    Column("threads", "threads", "Threads of torch on the CPU.", "count"),
    Column("device", "device", "Device on which it was measured."),
    Column("dtype", "dtype", "Data type of the numbers."),
)
_BY_KEY = {column.key: column for column in _COLUMNS}


def columns(*keys: str) -> tuple[Column, ...]:
    """Return the table columns with the given keys, in the given order.

    Raises:
        OptionError: If a key is not known; the message suggests the closest one.

    Examples:
        >>> [column.title for column in columns("name", "madds")]
        ['layer', 'madds']
    """
    for key in keys:
        if key not in _BY_KEY:
            raise OptionError(f"column {key!r} is not known.{closest(key, _BY_KEY)}")
    return tuple(_BY_KEY[key] for key in keys)


def number_column(key: str) -> Column:
    """Return the table column for a number that training runs report, such as ``top1``.

    If no column has this key, a new column is returned. The title is then the key.

    Examples:
        >>> number_column("top1").title, number_column("my_score").title
        ('top-1 %', 'my_score')
    """
    return _BY_KEY.get(key) or Column(key, key, "A number of the run.", "count")


def madds_as(execution: str) -> Column:
    """Return the table column with each layer's multiply-adds for one execution plan (way to compute the layer).

    A star after the number marks the layers that use this execution plan.
    """
    return Column(
        f"madds_{execution}",
        f"{execution} madds",
        f"Multiply-adds if the layer is computed by {execution}; * marks the execution plan in use.",
        "count",
        empty=NO_VALUE,
        mark=lambda row: "*" if row.get("execution") == execution else "",
    )


def ms_as(execution: str) -> Column:
    """Return the table column with each layer's measured milliseconds for one execution plan (way to compute the layer)."""
    return Column(f"ms_{execution}", f"{execution} ms", f"Median time of the layer's calls under {execution}.", "ms")
