"""What the demo hands to its troupe, which knows the server by the wire alone and loads no database."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Plan:
    """What the troupe acts out, and what people are told. Holds secrets: mode 0600."""

    base_url: str = ""
    conference: str = ""
    recording: str = ""
    join_code: str = ""
    verify_tls: bool = True
    preparing: str = ""
    clips: str = ""
    encoders: dict[str, str] = field(default_factory=dict)
    """site slug → token, of the simulated sites; the one on stage first"""
    operators: dict[str, str] = field(default_factory=dict)
    """site slug → token of its operator's link, of the simulated sites"""
    phones: list[dict[str, str]] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    """role → token, for people"""
    encoder: str = ""
    """the vacant site's"""
    trainee_codes: list[str] = field(default_factory=list)
    """codes of trainees of the vacant site"""
    password: str = ""
