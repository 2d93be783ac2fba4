"""Settings of this instance: read once from the environment and passed to everything that needs them.

The Hub token is not here: only `pipeline.hub` reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.environment import home_folder
from pipeline.core.errors import require
from pipeline.core.repo_names import HOW, is_owned

TAKE_OVER = "PIPELINE_HUB_TAKE_OVER"
PRIVATE = "PIPELINE_HUB_PRIVATE"
STATE = "PIPELINE_HUB_STATE"
ARCHIVE = "PIPELINE_ARCHIVE"
GALLERY_REPO = "PIPELINE_GALLERY_REPO"
PRICE = "PIPELINE_HOURLY_PRICE"
AUTO_RESUME = "PIPELINE_AUTO_RESUME"
MCP = "PIPELINE_MCP"
EXACT = "PIPELINE_EXACT"
PYODIDE = "PIPELINE_PYODIDE_URL"
PYODIDE_VERSION = "314.0.7"
"""The version whose files and lock file this program knows; a mirror holds the same."""
PYODIDE_URL = f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE_VERSION}/full/"
PYODIDE_ADDRESS = re.compile(
    r"(?:https://[\w.-]+|http://(?:127\.0\.0\.1|localhost))(?::\d{1,5})?(?:/[\w.@~-]+)*/", re.ASCII
)
"""No character that means something in a Content-Security-Policy, which names the address."""
COURSE_MODEL = "huggingface-course/codeparrot-ds"
MIN_KEY_CHARACTERS = 16
MIN_KEY_KINDS = 6
"""Minimum number of different characters: `aaaaaaaaaaaaaaaa` is long enough but easy to guess."""
NEW_KEY_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(24))"'


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on what visitors may request of this instance."""

    preview_rows: int = 20_000
    """Rows that one preview of a data set may scan."""
    preview_seconds: float = 120.0
    """How long one preview may take; what it has counted by then is shown."""
    preview_bytes: int = 10**9
    """Text that one preview may read; what it has counted by then is shown."""
    prompt_characters: int = 8_000
    """Longest accepted prompt, before tokenization."""
    new_tokens: int = 512
    """Maximum number of tokens that one completion may add."""
    samples: int = 4
    """Maximum number of completions of one prompt in one request."""
    corpora_bytes: int | None = None
    """Disk space that all corpora together may take before another one is refused; None: no limit."""
    stop_grace_seconds: float = 120.0
    """How long a job may take to save after a stop request before SIGTERM, and as long again before SIGKILL."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One instance: its home folder, its owner, the repo it pushes to."""

    home: Path = Path("home")
    """Folder that contains every file the application writes. Must be on a local disk: locks and renames must work."""
    hub_repo: str | None = None
    """Model repo on the Hub that checkpoints are pushed to, `owner/name`; None keeps them in the local registry."""
    hub_take_over: bool = False
    """Whether to push checkpoints also into a repo that holds what somebody else wrote."""
    hub_private: bool = False
    """Whether the model repo is created as a private one, and a public one is refused."""
    hub_state: bool = False
    """Whether pushes carry the training state, with which a run can be resumed after this disk was wiped."""
    archive: Path | None = None
    """A folder that outlives the home, as a mounted bucket: finished work is copied there, and back after a wipe."""
    gallery_repo: str | None = None
    """Dataset repo on the Hub, `owner/name`, that the approved examples of the gallery are pushed to; None: none is."""
    hourly_price: float | None = None
    """What the hardware costs an hour, in US dollars, for the model card."""
    auto_resume: bool = False
    """Whether the page resumes the runs that a restart has interrupted."""
    exact: bool = False
    """Whether text is always generated in float32, also where int8 is faster."""
    mcp: bool = False
    """Whether the page serves its endpoints as tools of an MCP server too."""
    owner_key: str | None = field(default=None, repr=False)
    """Key that permits start, stop and delete when the page is not bound to loopback; at least 16 characters."""
    server_name: str = "127.0.0.1"
    """Address the page binds to."""
    server_port: int | None = None
    """Port the page binds to; None takes the first free one from 7860."""
    space_id: str | None = None
    """`owner/name` when this runs as a Hugging Face Space."""
    space_host: str | None = None
    """Public host name of the Space."""
    public_datasets: tuple[str, ...] = ()
    """Datasets on the Hub that visitors may scan, in addition to the course's."""
    models: tuple[str, ...] = ()
    """Models on the Hub that the page offers beside the pushed revisions; visitors may use no others."""
    pyodide_url: str | None = PYODIDE_URL
    """Folder that a visitor's browser fetches Pyodide from, to run a completion that draws; None: it is not offered."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        # os.path.expanduser leaves the name of an unknown user unchanged; Path.expanduser raises.
        home = Path(os.path.expanduser(self.home)).absolute()  # noqa: PTH111
        object.__setattr__(self, "home", home)
        base = next(folder for folder in (home, *home.parents) if folder.exists())
        usable = base.is_dir() and os.access(base, os.W_OK | os.X_OK)
        require(usable, "PIPELINE_HOME", str(self.home), f"set a folder that can be written: {base} cannot")
        archive = self.archive
        if archive is not None:
            is_apart = archive.is_absolute() and not archive.is_relative_to(home) and not home.is_relative_to(archive)
            remedy = "set an absolute path, outside PIPELINE_HOME and not around it"
            require(is_apart, ARCHIVE, str(archive), remedy)
        repo = self.hub_repo
        require(
            repo is None or is_owned(repo),
            "PIPELINE_HUB_REPO",
            repo,
            HOW,
        )
        gallery = self.gallery_repo
        require(gallery is None or is_owned(gallery), GALLERY_REPO, gallery, "write owner/name")
        for name in self.public_datasets:
            require(
                is_owned(name),
                "PIPELINE_PUBLIC_DATASETS",
                name,
                "write owner/name, with commas between them",
            )
        for name in self.models:
            require(is_owned(name), "PIPELINE_MODELS", name, "write owner/name, with commas between them")
        url = self.pyodide_url
        remedy = f"set an https address that ends in /, of a folder with Pyodide {PYODIDE_VERSION}, or nothing to turn it off"
        require(url is None or PYODIDE_ADDRESS.fullmatch(url) is not None, PYODIDE, url, remedy)
        key = self.owner_key
        require(
            key is None or len(key) >= MIN_KEY_CHARACTERS,
            "The length of PIPELINE_OWNER_KEY",  # the message must not show the key
            len(key or ""),
            f"set {MIN_KEY_CHARACTERS} characters or more, such as those that this prints: {NEW_KEY_COMMAND}",
        )
        require(
            key is None or len(set(key)) >= MIN_KEY_KINDS,
            "The number of different characters in PIPELINE_OWNER_KEY",
            len(set(key or "")),
            f"set a key that cannot be guessed, such as those that this prints: {NEW_KEY_COMMAND}",
        )
        port = self.server_port
        require(port is None or 0 <= port <= 65_535, "GRADIO_SERVER_PORT", port, "set a port from 1 to 65535")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Raises InputError when a variable has an invalid value."""
        on_space = environ.get("SYSTEM") == "spaces"
        port = environ.get("GRADIO_SERVER_PORT") or ""
        require(
            not port or (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535),
            "GRADIO_SERVER_PORT",
            port,
            "set a port from 1 to 65535",
        )
        budget = environ.get("PIPELINE_CORPORA_GB") or ""
        require(
            not budget or (budget.isascii() and budget.isdecimal() and int(budget) >= 1),
            "PIPELINE_CORPORA_GB",
            budget,
            "set a whole number of gigabytes, 1 or more",
        )
        price = environ.get(PRICE) or ""
        require(
            not price or re.fullmatch(r"\d{1,6}(\.\d{1,4})?", price, re.ASCII) is not None,
            PRICE,
            price,
            "set US dollars an hour, as 0.60",
        )
        key = environ.get("PIPELINE_OWNER_KEY") or None
        return cls(
            limits=Limits(corpora_bytes=int(budget) * 10**9 if budget else None),
            home=home_folder(environ),
            hub_repo=environ.get("PIPELINE_HUB_REPO") or None,
            gallery_repo=environ.get(GALLERY_REPO) or None,
            hub_take_over=_switch(environ, TAKE_OVER),
            hub_private=_switch(environ, PRIVATE),
            exact=_switch(environ, EXACT),
            mcp=_switch(environ, MCP),
            hub_state=_switch(environ, STATE, default=on_space),  # a Space's disk is wiped at every restart
            archive=Path(folder) if (folder := environ.get(ARCHIVE)) else None,
            hourly_price=float(price) if price else None,
            auto_resume=_switch(environ, AUTO_RESUME),
            public_datasets=_names(environ.get("PIPELINE_PUBLIC_DATASETS") or ""),
            models=_names(environ.get("PIPELINE_MODELS", COURSE_MODEL)),
            pyodide_url=environ.get(PYODIDE, PYODIDE_URL) or None,
            owner_key=key and key.strip(),  # a key that is read from a file ends with a newline
            server_name=environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_space else "127.0.0.1"),
            server_port=int(port) if port else None,
            space_id=environ.get("SPACE_ID") if on_space else None,
            space_host=environ.get("SPACE_HOST") if on_space else None,
        )

    @property
    def repo(self) -> str:
        """Name of the registry's repo: the Hub repo, or `local` when nothing leaves this machine."""
        return self.hub_repo or "local"


def _names(text: str) -> tuple[str, ...]:
    """Names between commas or spaces."""
    return tuple(text.replace(",", " ").split())


def _switch(environ: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    value = environ.get(name) or ""
    require(value in ("", "0", "1"), name, value, "set 1 or 0, or leave it out")
    return value == "1" if value else default
