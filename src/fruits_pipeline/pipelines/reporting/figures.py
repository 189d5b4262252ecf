"""The figures, as Plotly objects: pure functions of small tables."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

TEMPLATE = "plotly_white"


def draw_cumulative_variance(ratio: np.ndarray) -> go.Figure:
    """Bars for the share of each component, a line for their sum.

    Args:
        ratio: (k,) explained variance ratio, largest first.
    """
    numbers = np.arange(1, len(ratio) + 1)
    reached = f"{len(ratio)} components hold {100 * ratio.sum():.1f} % of the variance"
    figure = go.Figure(layout={"template": TEMPLATE, "title": {"text": reached}, "hovermode": "x unified"})
    figure.add_bar(x=numbers, y=ratio, name="each component")
    figure.add_scatter(x=numbers, y=np.cumsum(ratio), name="cumulative", mode="lines")
    figure.update_xaxes(title_text="principal component")
    figure.update_yaxes(title_text="explained variance ratio", tickformat=".0%", range=[0, 1.02])
    figure.update_layout(legend={"orientation": "h", "y": 1.08, "x": 1, "xanchor": "right"})
    return figure


def prepare_figures() -> None:
    """Draws figures for nobody: with the first ones Plotly imports much more, for a quarter of a second.

    As much again would be IPython, which it imports wherever that is installed, to show figures in notebooks.
    """
    with _as_if_not_installed("IPython"):
        draw_cumulative_variance(np.ones(1))
        draw_points(pd.DataFrame({"path": [""], "label": [""], "pc1": [0.0], "pc2": [0.0]}), np.ones(1))


@contextmanager
def _as_if_not_installed(package: str) -> Iterator[None]:
    """Imports of a package fail meanwhile, as they do where it is missing; no change where it has been imported."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment] # to Python's import system: not found
    try:
        yield
    finally:
        del sys.modules[package]


def draw_points(points: pd.DataFrame, ratio: np.ndarray) -> go.Figure:
    """Scatter of the first two components.

    Args:
        points: `path`, `label`, `pc1`, `pc2`; the last two are missing where there are fewer components.
        ratio: (k,) explained variance ratio, for the titles of the axes.
    """
    figure = px.scatter(
        points.fillna({"pc1": 0.0, "pc2": 0.0}),
        x="pc1",
        y="pc2",
        color="label",
        hover_data={"path": True, "pc1": ":.2f", "pc2": ":.2f"},
        template=TEMPLATE,
        title=f"{len(points)} images of {points['label'].nunique()} labels on the first two principal components",
        opacity=0.75,
        color_discrete_sequence=px.colors.qualitative.Dark24,
    )
    for axis, update in enumerate((figure.update_xaxes, figure.update_yaxes)):
        share = f" ({100 * ratio[axis]:.1f} % of the variance)" if axis < len(ratio) else ""
        update(title_text=f"component {axis + 1}{share}")
    return figure
