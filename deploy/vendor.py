"""Copy the browser's third-party parts from node_modules into static/vendor.

Run by hand by a developer after changing a version in package.json:

    npm ci && pip install 'fonttools[woff]' && python deploy/vendor.py

The result is committed, because a running server serves nothing from another host and needs
neither npm nor a build. Each folder holds the files, `VERSION.txt` and `LICENSE.txt`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "static" / "vendor"

FONT_PACKAGE = "@fontsource/be-vietnam-pro"
# Vietnamese last, see vendor_fonts.
FONT_SUBSETS = ("latin-ext", "latin", "vietnamese")
FONT_WEIGHTS = (400, 500, 600, 700)
# All glyphs, the features that our pages use, no TrueType instructions: a third of the bytes.
FONT_OPTIONS = (
    "--unicodes=*",
    "--layout-features=kern,mark,mkmk,ccmp,locl,tnum",
    "--no-hinting",
    "--flavor=woff2",
)

# Every icon a template or script may name; `ui.icon("hand")` draws the one called hand.
ICONS = """
    archive arrow-down arrow-left arrow-right arrow-up badge-check ban bell book-open calendar
    camera camera-off captions chart-column check chevron-down chevron-left chevron-right
    chevron-up circle circle-alert circle-check circle-dot circle-help circle-play circle-user
    circle-x clipboard-list clock copy download ellipsis external-link eye eye-off
    file-spreadsheet file-text flag fullscreen gauge globe grip-vertical hand headphones history
    hourglass house id-card inbox info key-round keyboard languages layout-grid link list
    list-checks loader-circle lock log-in log-out map-pin maximize menu message-circle
    message-circle-question mic mic-off minimize monitor monitor-off monitor-up moon
    octagon-alert pause pencil phone pin play plus power presentation printer projector qr-code
    radio refresh-cw rotate-ccw rotate-cw save scan-qr-code search send settings share-2 shield
    signal signal-high signal-low signal-zero skip-back skip-forward sliders-horizontal
    smartphone square star sun tag thumbs-up timer trash-2 triangle-alert trophy undo-2 unlink
    upload user user-check user-plus user-x users video video-off volume-2 volume-x wifi wifi-off
    x zoom-in
""".split()


def fresh_folder(name: str, package: str) -> Path:
    """Empty static/vendor/`name` and put the version and licence of `package` into it."""
    folder = VENDOR / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    about = json.loads((MODULES / package / "package.json").read_text(encoding="utf-8"))
    line = f"{package} {about['version']} ({about['license']}), from npm by deploy/vendor.py\n"
    (folder / "VERSION.txt").write_text(line, encoding="utf-8")
    shutil.copyfile(MODULES / package / "LICENSE", folder / "LICENSE.txt")
    return folder


def vendor_module(name: str, package: str, build: str, target: str, types: str) -> None:
    """Copy one ES module build, and declare its types for `tsc --checkJs`."""
    folder = fresh_folder(name, package)
    source = (MODULES / package / build).read_text(encoding="utf-8")
    # The map is not shipped: its address would only be a 404 in developer tools.
    source = re.sub(r"\n//# sourceMappingURL=\S+\s*$", "\n", source)
    (folder / target).write_text(source, encoding="utf-8")
    (folder / target.replace(".js", ".d.ts")).write_text(types, encoding="utf-8")


def vendor_fonts() -> None:
    """Write the woff2 subsets, made smaller, and their @font-face rules.

    Browsers take the last rule whose unicode-range matches, so the Vietnamese subset comes
    last: a Vietnamese page then never downloads latin-ext.
    """
    folder = fresh_folder("be-vietnam-pro", FONT_PACKAGE)
    ranges = json.loads((MODULES / FONT_PACKAGE / "unicode.json").read_text(encoding="utf-8"))
    rules = ["/* Written by deploy/vendor.py. */"]
    for subset in FONT_SUBSETS:
        for weight in FONT_WEIGHTS:
            file = f"be-vietnam-pro-{subset}-{weight}-normal.woff2"
            source, target = MODULES / FONT_PACKAGE / "files" / file, folder / file
            subprocess.run(
                ["pyftsubset", source, *FONT_OPTIONS, f"--output-file={target}"], check=True
            )
            rules.append(
                '@font-face { font-family: "Be Vietnam Pro"; font-style: normal; '
                f"font-weight: {weight}; font-display: swap; "
                f'src: url("{file}") format("woff2"); unicode-range: {ranges[subset]}; }}'
            )
    (folder / "fonts.css").write_text("\n".join(rules) + "\n", encoding="utf-8")


def vendor_icons() -> None:
    """Join the chosen Lucide icons into one sprite of symbols, one id an icon.

    Raises:
        FileNotFoundError: Lucide has no icon of that name (names change between versions).
    """
    folder = fresh_folder("lucide", "lucide-static")
    symbols = []
    for name in sorted(set(ICONS)):
        svg = (MODULES / "lucide-static" / "icons" / f"{name}.svg").read_text(encoding="utf-8")
        inner = re.search(r"<svg[^>]*>(.*)</svg>", svg, re.DOTALL)
        assert inner, name
        shapes = re.sub(r"\s+", " ", inner[1]).replace(" />", "/>").replace("> <", "><").strip()
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>')
    sprite = "\n".join(symbols)
    text = f'<svg xmlns="http://www.w3.org/2000/svg">\n{sprite}\n</svg>\n'
    (folder / "icons.svg").write_text(text, encoding="utf-8")


def main() -> None:
    """Write all of static/vendor anew."""
    vendor_module(
        "socket.io-client",
        "socket.io-client",
        "dist/socket.io.esm.min.js",
        "socket.io.esm.min.js",
        'export * from "socket.io-client";\n',
    )
    vendor_module(
        "hls.js",
        "hls.js",
        "dist/hls.light.min.mjs",
        "hls.light.min.js",
        'export * from "hls.js";\nexport { default } from "hls.js";\n',
    )
    vendor_fonts()
    vendor_icons()


if __name__ == "__main__":
    main()
