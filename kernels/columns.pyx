"""Rows of named numbers as one array.

Design
------
a. A row is a dictionary as JSON gives it: name → number, or anything else.
b. What is no finite-precision number (text, truth values, integers beyond float64), and a name that is none of the
   columns', makes its row irregular: who asks looks at such a row by itself.
"""

import numpy as np

from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_AsDouble, PyLong_CheckExact
from cpython.object cimport PyObject
from libc.math cimport NAN, isnan


def columns_of(list rows, dict places):
    """Lay rows out in columns.

    Parameters
    ----------
    rows : list of dict
        Name → value.
    places : dict
        Name → column, 0 to len(places) - 1.

    Returns
    -------
    values : numpy.ndarray of float64, shape (len(rows), len(places))
        NaN where a row has no such name.
    is_regular : numpy.ndarray of bool, shape (len(rows),)
        Whether all of a row is in its columns: names that are known, numbers that are none of them NaN.

    Raises
    ------
    IndexError
        A place is no column.
    """
    cdef Py_ssize_t count = len(rows), width = len(places), i, place
    for place in places.values():
        if not 0 <= place < width:
            raise IndexError(f"{place} is no column of {width}")
    values = np.full((count, width), NAN)
    is_regular = np.ones(count, np.bool_)
    cdef double[:, ::1] cells = values
    cdef unsigned char[::1] regular = is_regular.view(np.uint8)
    cdef Py_ssize_t at
    cdef PyObject* name
    cdef PyObject* value
    cdef PyObject* column
    cdef dict row
    cdef double number
    for i in range(count):
        row = rows[i]
        at = 0
        while PyDict_Next(row, &at, &name, &value):
            column = PyDict_GetItem(places, <object>name)
            if column == NULL:
                regular[i] = 0
            elif PyFloat_CheckExact(<object>value):
                number = PyFloat_AS_DOUBLE(<object>value)
                cells[i, <Py_ssize_t>(<object>column)] = number
                if isnan(number):
                    regular[i] = 0
            elif PyLong_CheckExact(<object>value):
                try:
                    cells[i, <Py_ssize_t>(<object>column)] = PyLong_AsDouble(<object>value)
                except OverflowError:
                    regular[i] = 0
            else:
                regular[i] = 0
    return values, is_regular
