from tests.cast import cast, session  # noqa: F401
