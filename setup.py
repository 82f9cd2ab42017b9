"""What setup.cfg cannot say: ``forward.c`` and ``flight.c`` are compiled where there is a compiler, and
left out where not.

They are no Python module: ``server/media/native.py`` loads them as a library.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "server.media._forward",
            ["server/media/forward.c", "server/media/flight.c"],
            extra_compile_args=["-ffp-contract=off"],  # the same numbers as Python's
            optional=True,
        )
    ]
)
