"""Figures and pages of finished results: maps, slices, Gram matrices, the proof report.

The only room that imports matplotlib, and only when a figure is asked for. Functions take a table
(of :func:`ssem_jax.sweeps.sweep`, or one with the columns that a function names) and an `ax`, and
return the artists that carry the numbers; what begins with `draw_` makes a whole figure.

>>> import ssem_jax as sx
>>> from ssem_jax import show
>>> table, _ = sx.read_run("runs/mine")
>>> show.draw_run(table, "phase", "phase.pdf")
"""

from ssem_jax.later import attributes as _attributes

__getattr__, __dir__ = _attributes(
    __name__,
    {
        "explorer": (),
        "guide": ("draw_guide",),
        "landscapes": ("draw_landscape",),
        "maps": ("draw_gaps", "draw_phases", "gap_map", "phase_diagram", "phase_legend"),
        "matrices": ("gram", "sphere", "write_numbers"),
        "outcomes": ("draw_margins", "draw_outcomes", "outcome_map"),
        "papers": ("draw_paper",),
        "reference": (),
        "report": (),
        "runs": ("KINDS", "draw_run"),
        "slices": ("SHOWN", "bracket_widths", "draw_slices", "slice_panel"),
        "style": (
            "COLORS",
            "FORMATS",
            "MARKERS",
            "PlotError",
            "VARIANCE_TICKS",
            "animate",
            "color_bar",
            "house_style",
            "new_figure",
            "plain_log_ticks",
            "save",
            "series",
        ),
        "svg": ("inline_svg",),
        "tables": (
            "boundary_table",
            "cell_edges",
            "panels",
            "slice_table",
            "slice_values",
            "with_parts",
        ),
        "ssem_jax.sweeps.words": ("ALPHA", "TAU", "WORDS", "axis", "plain", "short"),
    },
)
"""The files, and the public names that they give the room; words stand further down, where claims
take theirs, too."""
