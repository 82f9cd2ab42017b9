from tests.play import play, session  # noqa: F401
