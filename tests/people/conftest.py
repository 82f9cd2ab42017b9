from tests.play import play  # noqa: F401
