"""FFmpeg's WHIP muxer, which comes with PyAV: publishes a grey picture and silence until SIGTERM.

``python -m tests.web.ffmpeg URL TOKEN FOLDER``. A certificate is made in FOLDER: the one that FFmpeg 8 with
GnuTLS makes is on a curve that OpenSSL no more knows (docs/encoders.md).
"""

from __future__ import annotations

import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PICTURES_PER_S, SAMPLES = 25, 960
SIZE, LUMA = (320, 180), 200


def make_certificate(folder: Path) -> dict[str, str]:
    """On P-256, as options of the muxer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "encoder")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1))
    made = builder.not_valid_after(now + timedelta(hours=1)).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    return {"cert_file": str(folder / "cert.pem"), "key_file": str(folder / "key.pem")}


def main(url: str, token: str, folder: str) -> None:
    """In real time; ends the session at the end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    options = {"authorization": token, **make_certificate(Path(folder))}
    with av.open(url, "w", format="whip", options=options) as out:
        video = out.add_stream("libx264", rate=PICTURES_PER_S)
        video.width, video.height = SIZE
        video.pix_fmt, video.gop_size, video.max_b_frames = "yuv420p", PICTURES_PER_S, 0
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
        audio = out.add_stream("libopus", rate=48000, layout="stereo")
        picture = VideoFrame(*SIZE, "yuv420p")
        for plane, level in zip(picture.planes, (LUMA, 128, 128), strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        sound = AudioFrame("s16", "stereo", SAMPLES)
        sound.planes[0].update(bytes(sound.planes[0].buffer_size))
        sound.sample_rate = 48000
        began_s, heard = time.monotonic(), 0
        for number in range(sys.maxsize):
            picture.pts, picture.time_base = number, Fraction(1, PICTURES_PER_S)
            out.mux(video.encode(picture))
            while heard < 48000 * number // PICTURES_PER_S:
                sound.pts, sound.time_base = heard, Fraction(1, 48000)
                out.mux(audio.encode(sound))
                heard += SAMPLES
            time.sleep(max(0.0, began_s + number / PICTURES_PER_S - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
