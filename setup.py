"""What setup.cfg cannot say: ``forward.c`` is compiled where there is a compiler, and left out where not.

It is no Python module: ``server/media/sending.py`` loads it as a library.
"""

from setuptools import Extension, setup

setup(ext_modules=[Extension("server.media._forward", ["server/media/forward.c"], optional=True)])
