"""Makes the site of `asv publish` work without the internet, and show names of releases.

asv's pages load JavaScript from public servers. Instead, the user's npm fetches it once from packages; after
that it comes from the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from asv.graph import make_summary_graph  # type: ignore[import-untyped]

from outlive import processes, temporary
from outlive.errors import FaultError
from outlive.files import write_bytes
from outlive.project import cache_dir

HISTORIES = "histories.js"
"""The Python and branch on which each benchmark opens: asv writes its index after us."""
FOLDER = "vendor"  # beside index.html
NAMES = ("releases.js", "releases.css")  # our own: they show names of releases instead of asv's hashes
READABLE = (
    ("<html>", '<html lang="en">'),
    ("<head>", '<head>\n    <meta name="viewport" content="width=device-width, initial-scale=1">'),
    ('<input id="range"', '<input id="range" aria-label="commits shown"'),
    ("<title>airspeed velocity</title>", "<title>outlive: every release, by asv</title>"),
)
"""What asv's page lacks for a screen reader and for a phone."""
FETCH_LIMIT = 120.0  # seconds that npm may take
FOREIGN = re.compile(r'<(script|link)\b[^>]*?\b(?:src|href)="https?://[^"]*/([^"/]+)"[^>]*>')


class Asset(msgspec.Struct, frozen=True):
    """A file that asv's pages load: its `name` in them, its npm package and path, and its SHA-256."""

    name: str
    package: str
    path: str
    sha256: str

    @property
    def cached(self) -> Path:
        """Its path in the cache."""
        return cache_dir() / "assets" / f"{self.sha256[:12]}-{self.name}"


ASSETS = msgspec.json.decode(Path(__file__).with_name("assets.json").read_bytes(), type=tuple[Asset, ...])
"""The bytes that asv asks for, except for flot and stupidtable, whose packages have the same code with
another minification or none."""


def name_releases(folder: Path, releases: Mapping[str, str]) -> None:
    """Make the site in `folder` name releases; `releases` maps commit hashes to names."""
    vendor = folder / FOLDER
    vendor.mkdir(exist_ok=True)
    for name in NAMES:
        shutil.copyfile(Path(__file__).with_name(name), vendor / name)
    index = folder / "index.html"
    page = index.read_text(encoding="utf-8")
    script, style = (f"{FOLDER}/{name}" for name in NAMES)
    ours = "".join(f'<script src="{source}"></script>\n    ' for source in (f"{FOLDER}/{HISTORIES}", script))
    ours += f'<link rel="stylesheet" href="{style}">\n  </head>'
    for theirs, replaced in (("</head>", ours), *READABLE):
        page = page.replace(theirs, replaced, 1)
    index.write_text(page, encoding="utf-8")
    feed = folder / "regressions.xml"
    text = feed.read_text(encoding="utf-8")
    for commit, name in releases.items():
        text = text.replace(f"{commit[:8]}&lt;/a&gt;", f"{name}&lt;/a&gt;").replace(
            f"{commit[:8]}...", f"{name}..."
        )
    feed.write_text(text, encoding="utf-8")


def open_on_history(folder: Path, graphs: Mapping[str, Sequence[Any]]) -> None:
    """Make the site in `folder` open each benchmark on the longest of its `graphs`, which are asv's.

    Thumbnails show only that one, and none where nothing was measured. asv's thumbnails are geometric means
    over Pythons: a single Python on which nothing is left makes them zero.
    """
    histories = {}
    for name, group in graphs.items():
        longest = max(group, key=lambda graph: len(graph.get_data()))
        if not longest.get_data():
            continue  # nothing was measured, as where a scenario makes no sense over a connection
        make_summary_graph([longest]).save(str(folder))
        histories[name] = {key: longest.params[key] for key in ("python", "branch")}
    path = folder / FOLDER / HISTORIES
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"var outliveHistories = " + msgspec.json.encode(histories) + b";\n")


def bring_home(folder: Path) -> None:
    """Make the site in `folder` load nothing from elsewhere.

    Raises FaultError, and leaves the pages unchanged, if an asset is not available.
    """
    index = folder / "index.html"
    page = index.read_text(encoding="utf-8")
    known = {asset.name: asset for asset in ASSETS}
    wanted = [found[2] for found in FOREIGN.finditer(page)]
    if unknown := [name for name in wanted if name not in known]:
        raise FaultError(f"this asv's pages load {unknown[0]}, which is not among the assets in {__name__}")
    assets = [known[name] for name in wanted]
    fetch(assets)
    (folder / FOLDER).mkdir(exist_ok=True)
    for asset in assets:
        shutil.copyfile(asset.cached, folder / FOLDER / asset.name)
    index.write_text(FOREIGN.sub(_at_home, page), encoding="utf-8")


def fetch(assets: Iterable[Asset]) -> None:
    """Fetch those `assets` with npm that are not in the cache.

    Raises FaultError if npm is missing or fails, or if a file does not have its SHA-256.
    """
    missing = [asset for asset in assets if not asset.cached.is_file()]
    if not missing:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise FaultError("npm is not installed: it fetches the JavaScript that asv's pages load, once")
    with temporary.folder() as folder:
        packages = sorted({asset.package for asset in missing})
        done = processes.run([npm, "pack", "--silent", *packages], cwd=folder, timeout=FETCH_LIMIT)
        if done.returncode:
            raise FaultError(f"npm cannot fetch {', '.join(packages)}: {processes.complaint(done)}")
        for asset in missing:
            _keep(asset, folder / f"{asset.package.replace('@', '-')}.tgz")


def _keep(asset: Asset, archive: Path) -> None:
    content = b""
    with contextlib.suppress(OSError, KeyError), tarfile.open(archive) as tar:
        if member := tar.extractfile(f"package/{asset.path}"):
            content = member.read()
    if hashlib.sha256(content).hexdigest() != asset.sha256:
        raise FaultError(f"{asset.path} of {asset.package} has changed: do not trust it")
    write_bytes(asset.cached, content)


def _at_home(found: re.Match[str]) -> str:
    path = f"{FOLDER}/{found[2]}"
    if found[1] == "link":
        return f'<link rel="stylesheet" href="{path}">'
    return f'<script src="{path}" onerror="js_load_failure()">'
