"""What setup.cfg cannot say: some C is compiled where there is a compiler, and left out where not.

It is no Python module: ``server/native.py`` loads it as a library.
"""

from setuptools import Extension, setup

PARTS = ("forward", "seal", "flight", "bandwidth", "listen", "receive", "relay", "rest")

setup(
    ext_modules=[
        Extension(
            "server.media._forward",
            [f"server/media/{part}.c" for part in PARTS],
            depends=["server/media/flight.h", "server/media/relay.h"],
            extra_compile_args=["-ffp-contract=off"],  # the same numbers as Python's
            optional=True,
        ),
        Extension(
            "server.live._spread",
            ["server/live/spread.c", "server/live/ring.c"],
            depends=["server/live/ring.h"],
            optional=True,
        ),
        Extension("server.live._intake", ["server/live/intake.c"], optional=True),
    ]
)
