"""Compares what `apitap calls` tells of gRPC, WebSockets and server-sent events with what the servers of the corpus logged.

usage: streams.py CORPUS_DIR APITAP
"""
import glob
import json
import os
import subprocess
import sys
import tempfile


def truth(call):
    """What can be told from the log, by the names that apitap gives it; none where it tells of nothing."""
    if "ws" in call:
        ws = call["ws"]
        told = {"close_code": ws["close_code"], "deflate": ws["deflate"], "subprotocol": ws["subprotocol"]}
        for way, side in (("c2s", "request"), ("s2c", "response")):
            told[side + ".messages"], told[side + ".bytes"] = ws["messages_" + way], ws["bytes_" + way]
        return "websocket", told
    if "service" in call:
        names = {"service": "service", "method": "rpc", "status": "grpc_status", "request.messages": "req_messages",
                 "response.messages": "resp_messages"}
        return "grpc", {name: call[logged] for name, logged in names.items() if logged in call}
    if "events" in call:
        return "events", {"": call["events"]}
    return None, {}


ABSENT = {"deflate": False}


def part(found, name):
    for step in filter(None, name.split(".")):
        found = (found or {}).get(step, ABSENT.get(step))
    return found


corpus, apitap = (os.path.abspath(path) for path in sys.argv[1:3])
right, wrong = 0, []
with tempfile.TemporaryDirectory() as folder:
    key = os.path.join(folder, "key")
    with open(key, "wb") as out:
        out.write(bytes(16))
    for expected in sorted(glob.glob(os.path.join(corpus, "peers", "*.expected.jsonl"))):
        capture = expected.replace(".expected.jsonl", ".pcap")
        with open(expected, encoding="utf-8") as logged:
            logged = [json.loads(line) for line in logged]
        if not os.path.exists(capture) or not any(truth(call)[0] for call in logged):
            continue
        found = {}
        lines = subprocess.run([apitap, "calls", "--quiet", "--key-file", key, capture],
                               stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
        for call in map(json.loads, lines):
            what = (call.get("method"), call.get("target"), call.get("status"), call["client"]["port"])
            found.setdefault(what, []).append(call)
        for call in logged:
            name, told = truth(call)
            if name is None:
                continue
            what = (call["method"], call["uri"], call["status"], int(call["client"].rsplit(":", 1)[1]))
            same = found.get(what, [{}])
            has = [one for one in same if all(part(one.get(name), key) == value for key, value in told.items())]
            right += bool(has)
            if has:
                same.remove(has[0])
            else:
                wrong.append(f"{os.path.basename(capture)} {what}: {same[0].get(name)} instead of {told}")
print("\n".join(wrong + [f"streams: {right} of {right + len(wrong)} right"]))
sys.exit(1 if wrong else 0)
