"""The files of the checkout, and Rust code without its comments and strings, for checks that read them."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "src"
PACKAGE = ROOT / "python" / "pipeline_core"

_NO_CODE = re.compile(
    r"""
      r(?P<hashes>\#*)".*?"(?P=hashes)       # raw strings
    | "(?:\\.|[^"\\])*"                      # strings
    | '(?:\\[^']+|[^'\\])'                   # characters; lifetimes have no second quote
    | //[^\n]* | /\*.*?\*/                   # comments
    """,
    re.DOTALL | re.VERBOSE,
)
_TESTS = re.compile(r"^#\[cfg\(test\)\]\nmod tests \{\n.*?^\}\n", re.DOTALL | re.MULTILINE)


@cache
def files(*folders: str, ending: str = "") -> tuple[Path, ...]:
    """The files under these folders that are in git or could be: everything that is not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    found = sorted({ROOT / name for name in names if name and name.endswith(ending)})
    return tuple(path for path in found if path.is_file())


def named(path: Path) -> str:
    """A file as people write it."""
    return path.relative_to(ROOT).as_posix()


@cache
def rust(path: Path) -> str:
    """Rust code: line for line as it is, without what stands in comments and strings, and without unit tests."""
    bare = _NO_CODE.sub(lambda match: "\n" * match[0].count("\n"), path.read_text())
    return _TESTS.sub(lambda match: "\n" * match[0].count("\n"), bare)


def room(path: Path) -> str:
    """The room of the engine that a file belongs to: the folder below `src`, or the file itself."""
    return path.relative_to(ENGINE).parts[0].removesuffix(".rs")
