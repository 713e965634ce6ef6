"""Compares the operations that `apitap calls` tells of with those that the servers of the corpus logged.

usage: operations.py CORPUS_DIR APITAP
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

FIELDS, OTHERS = 32, 16


def label(kind, name, fields):
    shown = sorted(set(fields))
    text = " ".join(part for part in (kind, name) if part)
    names = ",".join(shown[:8]) + (",…" if len(shown) > 8 else "")
    return f"{text} {{{names}}}" if names else text


def truth(call):
    """What of an operation can be told from the log; none where the log tells of none."""
    if "graphql" in call:
        all_of = call["graphql"]
        first = all_of[0]
        if first["type"] is None:
            return {"protocol": "graphql", "unread": "malformed"}
        labels = [label(one["type"], one["name"], one["fields"]) for one in all_of]
        distinct = list(dict.fromkeys(first["fields"]))[:FIELDS]
        told = {"protocol": "graphql", "kind": first["type"], "name": first["name"], "fields": distinct,
                "aliases": sum(len(one["aliases"]) for one in all_of), "count": len(all_of),
                "introspection": any(name.startswith("__") for one in all_of for name in one["fields"])}
    elif "jsonrpc" in call:
        labels = call["jsonrpc"]
        told = {"protocol": "jsonrpc", "name": labels[0], "count": len(labels)}
    elif "soap_action" in call:
        labels = [call["soap_action"]]
        told = {"protocol": "soap", "name": labels[0]}
    else:
        return None
    told["others"] = [other for other in dict.fromkeys(labels) if other != labels[0]][:OTHERS]
    return told


ABSENT = {"count": 1, "aliases": 0, "others": [], "fields": [], "introspection": False}
corpus, apitap = (os.path.abspath(path) for path in sys.argv[1:3])
right, wrong = 0, []
with tempfile.TemporaryDirectory() as folder:
    key = os.path.join(folder, "key")
    with open(key, "wb") as out:
        out.write(bytes(16))
    for kind in ("graphql", "jsonrpc", "soap"):
        for expected in sorted(glob.glob(os.path.join(corpus, "peers", kind + "*.expected.jsonl"))):
            capture = expected.replace(".expected.jsonl", ".pcap")
            found = {}
            lines = subprocess.run([apitap, "calls", "--quiet", "--key-file", key, capture],
                                   stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
            for call in map(json.loads, lines):
                found.setdefault((call["client"]["ip"], call["client"]["port"]), []).append(call.get("operation"))
            with open(expected, encoding="utf-8") as logged:
                for call in map(json.loads, logged):
                    address, port = call["client"].rsplit(":", 1)
                    operation = found[address, int(port)].pop(0)
                    told = truth(call)
                    if told is None:
                        # A log leaves out what it did not understand; then no name may be told.
                        good = operation is None or operation.get("unread") == "malformed"
                    else:
                        good = operation is not None and all(
                            operation.get(name, ABSENT.get(name)) == value for name, value in told.items())
                    right += good
                    if not good:
                        wrong.append(f"{os.path.basename(capture)}: {operation} instead of {told}")
print("\n".join(wrong + [f"operations: {right} of {right + len(wrong)} right"]))
sys.exit(1 if wrong else 0)
