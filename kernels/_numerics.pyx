"""What all kernels share: the check of their columns.

Design
------
A kernel takes columns (one-dimensional contiguous float64 arrays of one length) and returns a named
tuple of such columns. Wrong columns are the caller's fault and raise before anything is computed; a
row outside the physical domain is data, gives NaN in what cannot be computed, and touches no other row.
"""

import numpy as np


cdef Py_ssize_t rows_of(dict columns) except -1:
    """Return the common length of `columns`, or raise a ValueError that names the wrong one."""
    cdef Py_ssize_t rows = -1
    first = ""
    for name, column in columns.items():
        if not isinstance(column, np.ndarray) or column.dtype != np.float64:
            kind = column.dtype if isinstance(column, np.ndarray) else type(column).__name__
            raise ValueError(f"{name}: expected a float64 array, got {kind}")
        if column.ndim != 1:
            raise ValueError(f"{name}: expected one dimension, got {column.ndim}")
        if not column.flags.c_contiguous:
            raise ValueError(f"{name}: expected a contiguous array, got stride {column.strides[0]}")
        if rows < 0:
            rows, first = column.shape[0], name
        elif column.shape[0] != rows:
            raise ValueError(f"{name}: expected {rows} rows as {first} has, got {column.shape[0]}")
    return rows
