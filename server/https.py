"""The configured certificate, as TLS wants it."""

from __future__ import annotations

import ssl

from server.config import Config, ConfigError


def tls_context(config: Config) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the configured certificate; None without one.

    Raises: ConfigError where the files cannot be used.
    """
    if config.tls_cert is None or config.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"Không dùng được chứng chỉ TLS: {error}.") from None
    return context
