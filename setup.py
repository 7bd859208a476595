"""Compiles the physics: every kernels/*.pyx, in place.

The directives stand here and nowhere else. ``KERNELS_CHECKED=1`` turns bounds checks on: slower, and it
finds an index out of range that would otherwise be silent.

The compiler may not trade exactness for speed: no fast-math, no instructions that another machine lacks,
and no fused multiply-add, so that a replayed journal gives the same bits on every machine.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CHECKED = os.environ.get("KERNELS_CHECKED") == "1"
COMPILE_ARGS = ["-O3", "-ffp-contract=off"]

extensions = [
    Extension(f"kernels.{path.stem}", [path.as_posix()], extra_compile_args=COMPILE_ARGS)
    for path in sorted(Path("kernels").glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir="build/cython",
        force=True,  # a changed directive changes no file that Cython compares
        compiler_directives={
            "language_level": 3,
            "boundscheck": CHECKED,
            "initializedcheck": CHECKED,
            "wraparound": False,
            "cdivision": True,
            "embedsignature": True,
        },
    )
)
