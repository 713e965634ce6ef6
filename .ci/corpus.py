"""Scores `apitap calls` against the conformance corpus and fails below the bars.

usage: corpus.py CORPUS_DIR APITAP

Runs the corpus's own scorer on a view of it, captures in TLS with their key logs.
"""
import os
import re
import subprocess
import sys
import tempfile

RECALL, SPURIOUS_SHARE = 0.99, 0.005

corpus, apitap = (os.path.abspath(path) for path in sys.argv[1:3])

with tempfile.TemporaryDirectory() as view:
    for folder in ("zeek", "suricata", "ndpi", "peers"):
        os.mkdir(os.path.join(view, folder))
        for name in sorted(os.listdir(os.path.join(corpus, folder))):
            match = re.match(r"(.*)\.(pcap|pcapng)$", name)
            if not match:
                continue
            base = f"{folder}/{match[1]}"
            keys = os.path.join(corpus, base + ".keys")
            if os.path.exists(keys):
                os.symlink(keys, os.path.join(view, base + ".keys"))
            os.symlink(os.path.join(corpus, folder, name), os.path.join(view, folder, name))
            with open(os.path.join(corpus, base + ".expected.jsonl"), encoding="utf-8") as expected:
                lines = [line for line in expected if line.strip()]
            with open(os.path.join(view, base + ".expected.jsonl"), "w", encoding="utf-8") as out:
                out.writelines(lines)
            contested = os.path.join(corpus, base + ".contested.jsonl")
            if os.path.exists(contested):
                os.symlink(contested, os.path.join(view, base + ".contested.jsonl"))
    key = os.path.join(view, "key")
    with open(key, "wb") as out:
        out.write(bytes(16))
    command = [sys.executable, os.path.join(corpus, "score.py"), view,
               f"{apitap} calls --quiet --key-file {key} {{pcap}}", "--keys=--keylog", "--faults", "--detail", "3"]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
print(output, end="")
score = re.search(r"corpus: recall \S+ \((\d+)/(\d+)\) spurious (\d+) .*crashes (\d+)", output)
found, expected, spurious, crashes = map(int, score.groups())
if found < RECALL * expected or spurious > SPURIOUS_SHARE * expected or crashes:
    sys.exit(f"below the bar: recall at least {RECALL}, spurious at most {SPURIOUS_SHARE:.1%}, no crash")
