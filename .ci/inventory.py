"""Compares the inventory of `apitap apis --json` with the endpoints that the range's estate has.

usage: inventory.py SYNTH_PY CALLS_JSONL_GZ INVENTORY_JSONL

What is true: every method and template of the estate that answered a benign client well. What the estate itself does
not list but benign clients were answered well at is true as well (a renamed endpoint). Prints precision and recall.
"""
import gzip
import importlib.util
import json
import re
import sys


def main(synth, calls, inventory):
    spec = importlib.util.spec_from_file_location("synth", synth)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    estate = module.Estate()
    known = []
    for endpoint in estate.eps.values():
        host = estate.svcs[endpoint.svc][0]
        path = endpoint.fmt.replace("{}", "{id}")
        pattern = re.compile("/".join("[^/]+" if part == "{id}" else re.escape(part) for part in path.split("/")))
        known.append((path.count("{id}"), host, endpoint.method, path, pattern))
    known.sort(key=lambda one: one[0])  # words come before parameters

    def endpoint(call):
        path = call["target"].split("?")[0]
        for _, host, method, template, pattern in known:
            if host == call["host"] and method == call["method"] and pattern.fullmatch(path):
                return host, method, template
        return call["host"], call["method"], path

    truth, attacked = set(), set()
    with gzip.open(calls, "rt") as lines:
        for line in lines:
            call = json.loads(line)
            if call["method"] in ("OPTIONS", "HEAD") or not (200 <= call["status"] < 300 or call["status"] == 304):
                continue
            (attacked if call["actor"] else truth).add(endpoint(call))
    with open(inventory) as lines:
        found = {(one["host"], one["method"], one["template"]) for one in map(json.loads, lines)}
    wrong, missing = sorted(found - truth), sorted(truth - found)
    precision, recall = len(found & truth) / max(1, len(found)), len(found & truth) / max(1, len(truth))
    scans = [one for one in wrong if one in attacked]
    for name, ones in (("wrong", wrong), ("missing", missing)):
        for one in ones:
            print(name, *one)
    print(f"precision {precision:.4f} ({len(found & truth)}/{len(found)}) recall {recall:.4f} "
          f"({len(found & truth)}/{len(truth)}) of attackers alone {len(scans)}")
    return 0 if precision >= 0.98 and recall >= 0.98 and not scans else 1


sys.exit(main(*sys.argv[1:]))
