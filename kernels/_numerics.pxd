cdef Py_ssize_t rows_of(dict columns) except -1
