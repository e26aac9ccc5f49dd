"""The list of all tests.

A test is a function with one sentence as its docstring: the promise to users that it protects.
"""

from dataclasses import dataclass, field
from typing import Callable, Optional

TESTS = []


class Skipped(Exception):
    """Raised by a test that cannot run here; the text is the reason shown to the reader."""


@dataclass
class Test:
    name: str
    run: Callable
    promise: str
    full: bool = False
    smoke: bool = False
    scope: str = "config"  # config: under every configuration; fs: once per file system; run: once
    fs: Optional[tuple] = None
    only: Optional[str] = None  # reason why it needs handlefs itself, for instance its trace
    unless_bind: Optional[str] = None  # reason why it cannot hold on a bind mount
    unless_standin: Optional[str] = None  # reason why it cannot hold over the stand-in kernel
    unless_restarts: Optional[str] = None  # reason why it cannot hold when the daemon is replaced all the time
    unless_kills: Optional[str] = None  # reason why it cannot hold when the server is killed all the time
    limit: int = 90  # seconds after which it counts as hung
    needs: dict = field(default_factory=dict)  # option name -> accepted values


def test(**kwargs):
    """Registers the function below it."""

    def register(fn):
        doc = (fn.__doc__ or "").strip()
        if not doc:
            raise TypeError(f"test {fn.__name__} has no docstring")
        if any(t.name == fn.__name__ for t in TESTS):
            raise TypeError(f"two tests are named {fn.__name__}")
        TESTS.append(Test(fn.__name__, fn, " ".join(doc.split()), **kwargs))
        return fn

    return register
