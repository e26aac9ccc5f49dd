"""The code blocks of README.md, and what is to be done with each.

Before each block stands a comment that readers do not see:

    <!-- test: run -->                  its lines are commands of the session, in order
    <!-- test: run, mounted -->         /srv/data is mounted at /mnt/data for them
    <!-- test: run, full -->            only with --full
    <!-- test: output -->               each "$ COMMAND" and what it prints, to both streams
    <!-- test: file PATH -->            its lines stand in this file from now on
    <!-- test: fstab -->                each line alone is the fstab of a mount
    <!-- test: systemd -->              test/systemd runs it
    <!-- test: no, REASON -->           not for running
"""

import os
import re
from dataclasses import dataclass

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
MARK = re.compile(r"^<!-- test: (.*) -->$")
KINDS = ("run", "output", "file", "fstab", "systemd", "no")


class Unmarked(Exception):
    pass


@dataclass
class Block:
    number: int  # of its first line
    kind: str
    rest: str  # behind the kind
    lines: list

    def shown(self):
        """Commands of an output block, each with the lines below it."""
        out = []
        for line in self.lines:
            if line.startswith("$ "):
                out.append((line[2:], []))
            elif not out:
                raise Unmarked(f"README.md:{self.number}: begins with no '$ COMMAND'")
            else:
                out[-1][1].append(line)
        return out

    def commands(self):
        """Comment lines and blank ones are none."""
        return [line for line in self.lines if line.strip() and not line.lstrip().startswith("#")]


def parse(text):
    """All blocks, in order; Unmarked if it is not said of one what to do with it."""
    blocks, mark, inside = [], None, None
    before_is_blank = True
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"^ *```", line):
            raise Unmarked(f"README.md:{number}: blocks are indented by four blanks here, not fenced")
        if line.startswith("    ") and line.strip() and (inside or before_is_blank):
            if inside is None:
                if mark is None:
                    raise Unmarked(f"README.md:{number}: what is to be done with this block? {' | '.join(KINDS)}: see test/readme/blocks.py")
                inside = Block(number, *mark, lines=[])
                blocks.append(inside)
                mark = None
            inside.lines.append(line[4:])
        elif not line.strip():
            # A block goes on over blank lines if more of it comes.
            if inside:
                inside.lines.append("")
        else:
            found = MARK.match(line)
            if mark is not None:
                raise Unmarked(f"README.md:{number}: a mark without a block")
            mark, inside = split(found.group(1), number) if found else None, None
        before_is_blank = not line.strip() or bool(MARK.match(line))
    for block in blocks:
        while block.lines and not block.lines[-1]:
            block.lines.pop()
    return blocks


def split(mark, number):
    kind = re.match(r"\w*", mark).group(0)
    rest = mark[len(kind):].lstrip(", ")
    if kind not in KINDS or (kind in ("no", "file")) != bool(rest) and kind != "run":
        raise Unmarked(f"README.md:{number}: '{mark}' is not one of {' | '.join(KINDS)}")
    return kind, rest


def readme():
    with open(os.path.join(TOP, "README.md")) as f:
        return parse(f.read())


def filled(text, words):
    """With the newcomer's values for the placeholders."""
    for word, value in words.items():
        text = re.sub(rf"\b{word}\b", lambda _, value=value: value, text)
    return text
