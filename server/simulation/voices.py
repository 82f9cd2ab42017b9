"""Speech-like sound: syllables of vowels and soft consonants on a steady pitch.

Each period of the voice is a short burst of damped resonances (formants), as in FOF synthesis
(X. Rodet, "Time-domain formant-wave-function synthesis", 1984). Bursts are computed once a
vowel and loudness and then strung together, so a second of speech costs next to nothing.
"""

from __future__ import annotations

import math
import random
from array import array
from functools import lru_cache

SAMPLE_RATE = 16_000
LOOP_S = 20

#: The pitch at which each site's voice rests, in Hz: a tenth apart, men and women in turn of the list.
VOICE_PITCHES_HZ: tuple[float, ...] = tuple(round(92 * 1.1**index, 1) for index in range(11))

#: First three formants in Hz of the vowels a, e, i, o, u, ơ, ê (rounded from Vietnamese averages).
_VOWELS = (
    (850, 1450, 2550),
    (650, 1900, 2600),
    (320, 2300, 3000),
    (600, 950, 2500),
    (350, 750, 2400),
    (550, 1250, 2500),
    (450, 2050, 2700),
)
_LOUDNESS_STEPS = 12
_GRAIN_SAMPLES = SAMPLE_RATE // 60


def pitch_of(index: int) -> float:
    """The resting pitch in Hz of the voice of the site at ``index``."""
    return VOICE_PITCHES_HZ[index % len(VOICE_PITCHES_HZ)]


def speak(index: int) -> array[int]:
    """The voice of the site at ``index``: mono, 16 bits, ``SAMPLE_RATE``, exactly ``LOOP_S``.

    The same index always gives the same sound. There is no silence longer than 0.2 s.
    """
    chance = random.Random(f"voice {index}")
    sound = array("h")
    total = SAMPLE_RATE * LOOP_S
    syllables_left = 0
    while len(sound) < total:
        if syllables_left == 0:
            sound.extend(_hiss(chance, chance.uniform(0.10, 0.18), 25))
            syllables_left = chance.randint(5, 11)
        sound.extend(_hiss(chance, chance.uniform(0.02, 0.05), chance.choice((60, 500, 900))))
        sound.extend(_syllable(chance, pitch_of(index)))
        syllables_left -= 1
    return sound[:total]


def _syllable(chance: random.Random, pitch_hz: float) -> array[int]:
    """One vowel that swells and fades, its pitch level, rising or falling by up to 4 %."""
    vowel = chance.randrange(len(_VOWELS))
    slope = chance.choice((0.0, 0.0, 0.04, -0.04))
    samples = int(SAMPLE_RATE * chance.uniform(0.15, 0.26))
    sound = array("h")
    while len(sound) < samples:
        part = len(sound) / samples
        swell = min(1.0, part / 0.15, (1 - part) / 0.3)
        period = round(SAMPLE_RATE / (pitch_hz * (1 + slope * (part - 0.5))))
        loudness = max(1, round(swell * (_LOUDNESS_STEPS - 1)))
        sound.extend(_grain(vowel, loudness)[:period])
    return sound


@lru_cache(maxsize=None)
def _grain(vowel: int, loudness: int) -> array[int]:
    """One burst of the voice: damped sinusoids at the formants, weaker the higher they are."""
    peak = 9000 * loudness / (_LOUDNESS_STEPS - 1)
    grain = array("h")
    for sample in range(_GRAIN_SAMPLES):
        t = sample / SAMPLE_RATE
        attack = min(1.0, sample / 8)
        value = sum(
            weight * math.exp(-math.pi * bandwidth * t) * math.sin(2 * math.pi * formant * t)
            for formant, weight, bandwidth in zip(_VOWELS[vowel], (1.0, 0.5, 0.25), (70, 100, 150))
        )
        grain.append(round(peak * attack * value))
    return grain


def _hiss(chance: random.Random, duration_s: float, peak: int) -> array[int]:
    """Breath or a consonant: a piece of noise."""
    noise = _noise(peak)
    samples = int(duration_s * SAMPLE_RATE)
    start = chance.randrange(len(noise) - samples)
    return noise[start : start + samples]


@lru_cache(maxsize=None)
def _noise(peak: int) -> array[int]:
    chance = random.Random(peak)
    return array("h", (chance.randint(-peak, peak) for _ in range(SAMPLE_RATE // 2)))
