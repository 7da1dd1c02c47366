"""Samples that are wider than a slot of the lake, as samples of each slot that they speak of.

A mean of an hour covers twelve slots of five minutes. Each of its samples lies at the end of its slot, and in a slot the first
speaks: whatever is finer counts, whichever of the two came first.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from providers.base import WIDEST_S

WIDTH = "width_s"


def spread(table: pa.Table, step_s: int) -> pa.Table:
    """``table`` of providers.base.Samples without ``width_s``: rows that are no wider than a slot as they are, the others once a
    slot (the slots whose begin is nearer to theirs than to the next, as many as the width has). What is wider than ``WIDEST_S``,
    or of no width, is left to a slot of its own."""
    if WIDTH not in table.column_names:
        return table
    width = pc.fill_null(table.column(WIDTH).cast(pa.float64()), 0.0).to_numpy()
    table = table.drop_columns([WIDTH])
    many = np.where((width > 0) & (width <= WIDEST_S), np.rint(np.nan_to_num(width) / step_s), 1).astype(np.int64)
    many = np.maximum(many, 1)
    if not (many > 1).any():
        return table
    row = np.repeat(np.arange(len(many)), many)
    number = np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many)
    table = table.take(pa.array(row))
    ts = pc.fill_null(table.column("ts"), -1).to_numpy()
    end = ((ts + step_s // 2) // step_s + number + 1) * step_s - 1
    return table.set_column(table.schema.get_field_index("ts"), "ts", pa.array(np.where(many[row] > 1, end, ts)))
