"""The inventory of a real server: httpbin (PyPI), with the document that it publishes, driven by schemathesis (PyPI).

usage: blueprint.py APITAP [EXAMPLES | --quick]

Needs tcpdump with rights to capture on the loopback interface, and a Python with httpbin, gunicorn and schemathesis:
run it with that (httpbin with its extra `mainapp`, which serves the document). With --quick, as .ci/run does it, the first
capture alone is made, in half a minute; in full it takes minutes. All traffic stays on 127.0.0.1.

The server is httpbin as it comes, behind a few lines that plant what the document does not say: a path of its own
(shadow), a deprecated operation that answers (zombie), a field that is not in the schema, and an operation that demands
a token in the document and answers without.

Two captures are judged. In the first, three clients behind a proxy ask for what the document describes, with the valid
data that schemathesis makes up: endpoints found of those that the server's own log says were
answered well, and templates. In the second, schemathesis does all of what it does as one client: a fuzzer, of which
the inventory should take nothing but what it was answered well before anything was held against it; how much that is, is
told and not judged.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

APP = '''
import json, httpbin
inner = httpbin.app.wsgi_app

def planted(environ, start):
    path = environ["PATH_INFO"]
    if path == "/internal/metrics":
        body = b'{"requests": 12, "uptime": 3.5}'
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    if path != "/ip":
        return inner(environ, start)
    held = {}
    def keep(status, headers, info=None):
        held["status"], held["headers"] = status, headers
    body = b"".join(inner(environ, keep))
    if held["status"].startswith("200"):
        body = json.dumps({**json.loads(body), "account_mail": "ana@example.com"}).encode()
    headers = [(k, v) for k, v in held["headers"] if k.lower() != "content-length"]
    start(held["status"], headers + [("Content-Length", str(len(body)))])
    return [body]

httpbin.app.wsgi_app = planted
app = httpbin.app
'''

def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


PORT = free_port()
BASE = f"http://127.0.0.1:{PORT}"
# More who make up data look like a swarm of scanners, and teach nothing.
CLIENTS = 3
# Answers that never end in time, or that are no answers of an API.
SKIPPED = re.compile(r"^/(delay|drip|stream|stream-bytes|range|redirect|relative-redirect|absolute-redirect)")


def get(path, headers=None, data=None, method="GET"):
    request = urllib.request.Request(BASE + path, headers=headers or {}, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()
    except OSError:
        return b""


def document(folder):
    published = json.loads(get("/spec.json"))
    published["paths"] = {path: item for path, item in published["paths"].items() if not SKIPPED.match(path)}
    published["host"], published["schemes"] = f"127.0.0.1:{PORT}", ["http"]
    plain = folder / "published.json"
    plain.write_text(json.dumps(published))
    paths = published["paths"]
    paths["/uuid"]["get"]["deprecated"] = True
    paths["/ip"]["get"]["responses"]["200"]["schema"] = {
        "type": "object", "properties": {"origin": {"type": "string"}}, "additionalProperties": False}
    published.setdefault("securityDefinitions", {})["token"] = {"type": "apiKey", "in": "header", "name": "Authorization"}
    paths["/user-agent"]["get"]["security"] = [{"token": []}]
    judged = folder / "judged.json"
    judged.write_text(json.dumps(published))
    return plain, judged, paths


def drive(spec, examples, client, *more):
    """Lets schemathesis call; what it thinks of the answers does not matter here."""
    command = [str(pathlib.Path(sys.executable).parent / "schemathesis"), "run", str(spec), "--url", BASE,
               "--header", f"X-Forwarded-For: {client}", "--max-examples", str(examples), "--checks", "not_a_server_error",
               "--request-timeout", "5", "--no-color", "--continue-on-failure", *more]
    subprocess.run(command, cwd=spec.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900)


def captured(folder, name, work):
    capture = folder / f"{name}.pcap"
    dump = subprocess.Popen(["tcpdump", "-i", "lo", "-U", "-s", "0", "-B", "65536", "-w", str(capture), "tcp port %d" % PORT],
                            stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    if dump.poll() is not None:
        print("skipped: tcpdump cannot capture on the loopback interface:", dump.stderr.read().strip())
        sys.exit(0)
    start = (folder / "access.log").stat().st_size
    work()
    time.sleep(1)
    dump.send_signal(signal.SIGINT)
    dump.communicate()
    with open(folder / "access.log", errors="replace", newline="\n") as log:
        log.seek(start)
        lines = [line.rstrip("\n").split(" ", 2) for line in log]
    return capture, [line for line in lines if len(line) == 3 and line[0].isdigit()]


def operations(lines, paths):
    """Operations of the document that were answered well, by the server's log: (method, template) to paths."""
    known = []
    for path, item in paths.items():
        pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))
        template = re.sub(r"\{[^}]*\}", "{id}", path)
        known += [(path.count("{"), method.upper(), re.compile(pattern), template) for method in item if method != "parameters"]
    known.sort(key=lambda one: one[0])
    found = collections.defaultdict(set)
    for status, method, path in lines:
        if 200 <= int(status) < 300 or status == "304":
            path = path.split("?")[0]
            for _, wanted, pattern, template in known:
                if wanted == method and pattern.fullmatch(path) and method not in ("OPTIONS", "TRACE", "HEAD"):
                    found[method, template].add(path)
                    break
    return found


def apis(binary, folder, capture, *more):
    command = [binary, "apis", "--quiet", "--json", "--state", str(folder), "--trusted-proxy", "127.0.0.1", *more, str(capture)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def covers(template, path):
    pattern = re.escape(template).replace(r"\{id\}", "[^/]+").replace(r"\{rest\}", ".*")
    return re.fullmatch(pattern, path) is not None


def main(binary, quick, examples=2):
    binary = os.path.abspath(binary)
    if shutil.which("tcpdump") is None:
        print("skipped: tcpdump is not installed")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "planted.py").write_text(APP)
        server = subprocess.Popen([sys.executable, "-m", "gunicorn", "-w", "1", "--threads", "8", "-b", f"127.0.0.1:{PORT}",
                                   "--access-logfile", "access.log", "--access-logformat", "%(s)s %(m)s %(U)s",
                                   "planted:app"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                if get("/spec.json"):
                    break
                time.sleep(0.3)
            plain, judged, paths = document(folder)

            def honest():
                for number in range(CLIENTS):
                    client = f"198.51.100.{number + 1}"
                    drive(plain, examples, client, "--mode", "positive", "--phases", "examples,fuzzing", "--seed", str(number))
                    for path in ("/uuid", "/ip", "/user-agent", "/internal/metrics"):
                        get(path, {"X-Forwarded-For": client})

            capture, lines = captured(folder, "honest", honest)
            exercised = operations(lines, paths)
            found = apis(binary, folder, capture)
            templates = {(one["method"], one["template"]) for one in found}
            seen = {one for one in exercised
                    if any(method == one[0] and any(covers(template, path) for path in exercised[one])
                           for method, template in templates)}
            right = {one for one in seen if one in templates
                     or any(method == one[0] and template.endswith("{rest}") and covers(template, one[1])
                            for method, template in templates)}
            for one in sorted(set(exercised) - seen):
                print("missing", *one)
            for one in sorted(seen - right):
                told = sorted(template for method, template in templates if method == one[0]
                              and any(covers(template, path) for path in exercised[one]))
                print("template", *one, "told as", *told[:4])
            share = len(seen) / max(1, len(exercised))
            print(f"{len(lines)} calls; endpoints {share:.3f} ({len(seen)}/{len(exercised)}), "
                  f"templates {len(right) / max(1, len(seen)):.3f} ({len(right)}/{len(seen)})")
            findings = {(one["kind"], one["endpoint"].split("/", 1)[-1], one.get("what", ""))
                        for one in apis(binary, folder, capture, "--spec", str(judged))}
            planted = {"shadow": ("shadow", "internal/metrics", ""), "zombie": ("zombie", "uuid", ""),
                       "field": ("field_unspecified", "ip", "account_mail"), "auth": ("auth_missing", "user-agent", "")}
            for kind, finding in planted.items():
                print(kind, "reported" if finding in findings else "MISSED")

            if not quick:
                fuzzed, lines = captured(folder, "fuzzed", lambda: drive(plain, examples, "203.0.113.7"))
                good = operations(lines, paths)
                taken = apis(binary, folder, fuzzed)
                print(f"as one fuzzing client: {len(lines)} calls, {len(good)} endpoints answered well, "
                      f"{len(taken)} in the inventory")
        finally:
            server.terminate()
            server.wait()
        return 0 if share >= 0.95 and right == seen and set(planted.values()) <= findings else 1


if __name__ == "__main__":
    quick = "--quick" in sys.argv[2:]
    sys.exit(main(sys.argv[1], quick, *([1] if quick else [int(one) for one in sys.argv[2:]])))
