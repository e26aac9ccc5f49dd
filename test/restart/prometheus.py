"""Checks text for Prometheus by the rules of its exposition format (what promtool check metrics looks at)."""

import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
PARTS = ("_bucket", "_sum", "_count")


def labels_of(text):
    out, at = {}, 0
    while at < len(text):
        found = LABEL.match(text, at)
        if not found:
            raise AssertionError(f"bad labels: {text}")
        if found[1] in out:
            raise AssertionError(f"label twice: {text}")
        out[found[1]] = found[2]
        at = found.end()
    return out


def parse(text):
    """{name: {labels as a sorted tuple: value}}; raises AssertionError for what is not valid."""
    types, helps, samples, done = {}, set(), {}, set()
    family = None
    if not text.endswith("\n"):
        raise AssertionError("the last line has no end")
    for line in text.splitlines():
        if line.startswith("# "):
            kind, name, rest = line[2:].split(" ", 2)
            if name in done or (kind == "TYPE" and name in types) or (kind == "HELP" and name in helps):
                raise AssertionError(f"twice: {line}")
            if family not in (None, name):
                done.add(family)
            family = name
            if kind == "TYPE":
                types[name] = rest
                if rest not in ("counter", "gauge", "histogram"):
                    raise AssertionError(f"no type: {line}")
            elif kind == "HELP" and rest:
                helps.add(name)
            else:
                raise AssertionError(f"neither HELP nor TYPE: {line}")
            continue
        found = SAMPLE.fullmatch(line)
        if not found:
            raise AssertionError(f"no sample: {line!r}")
        name, labels, value = found[1], labels_of(found[2] or ""), float(found[3])
        base = next((name[:-len(p)] for p in PARTS if name.endswith(p) and types.get(name[:-len(p)]) == "histogram"), name)
        if base != family or base not in types or base not in helps:
            raise AssertionError(f"outside of its family: {line}")
        if types[base] == "counter" and not name.endswith("_total"):
            raise AssertionError(f"a counter without _total: {name}")
        if types[base] == "gauge" and name.endswith(("_total", "_count", "_sum", "_bucket")):
            raise AssertionError(f"a gauge with a counter's name: {name}")
        if types[base] != "gauge" and (value < 0 or math.isnan(value)):
            raise AssertionError(f"less than nothing: {line}")
        key = tuple(sorted(labels.items()))
        if key in samples.setdefault(name, {}):
            raise AssertionError(f"sample twice: {line}")
        samples[name][key] = value
    for name, kind in types.items():
        if kind == "histogram":
            check_histogram(name, samples)
        elif name not in samples:
            raise AssertionError(f"{name} has no samples")
    return samples


def check_histogram(name, samples):
    series = {}
    for key, value in samples.get(name + "_bucket", {}).items():
        labels = dict(key)
        series.setdefault(tuple(sorted(kv for kv in key if kv[0] != "le")), []).append((float(labels["le"]), value))
    counts, sums = samples.get(name + "_count", {}), samples.get(name + "_sum", {})
    if not set(series) == set(counts) == set(sums):
        raise AssertionError(f"{name}: buckets, counts and sums are of different series")
    for key, buckets in series.items():
        values = [v for _, v in sorted(buckets)]
        if sorted(buckets) != buckets or values != sorted(values) or buckets[-1][0] != math.inf:
            raise AssertionError(f"{name}{key}: buckets do not add up: {buckets}")
        if values[-1] != counts[key]:
            raise AssertionError(f"{name}{key}: {values[-1]} in buckets, {counts[key]} counted")
