#!/usr/bin/env python3
"""Real files that hold no secrets: JSON, HTML, JavaScript, bundles and sources of packages of npm and PyPI, as answers of a server.

    .ci/packages.py APITAP [MEGABYTES]

Fetches packages by npm and pip into a folder of its own, writes a capture in which a client is given each file once, has `apitap calls`
look at it, and says which classes of secrets and cards it found in which files. Exit code 1 if there is any. It needs the network, and so is
no part of the gate."""
import collections
import json
import os
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile

NPM = """react-dom lodash three antd plotly.js monaco-editor vue @angular/core @angular/compiler d3 echarts moment jquery rxjs
    firebase aws-sdk @babel/standalone typescript webpack swagger-ui-dist mermaid chart.js highlight.js codemirror video.js ag-grid-community
    @mui/material @mui/icons-material date-fns core-js handsontable pdfjs-dist quill tinymce ckeditor4 leaflet cesium ol mapbox-gl
    graphql apollo-server-core stripe twilio @sendgrid/mail express next svelte bootstrap @fortawesome/fontawesome-free caniuse-lite
    mime-db emoji-mart country-flag-icons libphonenumber-js faker validator card-validator swagger-ui-react openapi-types""".split()
PYPI = """django flask sqlalchemy botocore boto3 stripe twilio sendgrid sphinx notebook jupyterlab bokeh plotly dash streamlit
    sentry-sdk google-cloud-storage azure-identity faker phonenumbers python-stdnum cryptography requests aiohttp fastapi pydantic
    celery airflow ansible-core scikit-learn matplotlib nltk folium wagtail mezzanine""".split()
TYPES = {
    ".js": "application/javascript", ".mjs": "application/javascript", ".cjs": "application/javascript", ".json": "application/json",
    ".html": "text/html", ".htm": "text/html", ".map": "application/json", ".css": "text/css", ".ts": "text/plain", ".py": "text/plain",
    ".txt": "text/plain", ".md": "text/plain", ".rst": "text/plain", ".xml": "application/xml", ".yaml": "text/plain",
    ".yml": "text/plain", ".csv": "text/csv", ".svg": "image/svg+xml",
}
# What is reported of these would be a false secret or a false card. A JSON Web Token is one wherever it stands, samples of documentation too:
# it is not among them, as its rule says of itself that it is no leak.
GRAVE = {
    "private_key", "cloud_key", "source_forge_token", "payment_key", "chat_token", "service_token", "password_hash", "database_url",
    "generic_secret", "payment_card", "iban", "us_ssn",
}


def fetch(folder):
    for name in NPM:
        subprocess.run(["npm", "pack", "--silent", name], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for name in PYPI:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", name]
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def files(folder):
    """Name and bytes of each file of a known type."""
    for path in sorted(pathlib.Path(folder).iterdir()):
        if path.suffix == ".tgz":
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile() and pathlib.Path(member.name).suffix in TYPES:
                        yield f"{path.name}/{member.name}", archive.extractfile(member).read()
        elif path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    if pathlib.Path(member.filename).suffix in TYPES:
                        yield f"{path.name}/{member.filename}", archive.read(member)


class Capture:
    def __init__(self, path):
        self.out = open(path, "wb")
        self.out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 101))
        self.time, self.next = 1_770_000_000.0, [1, 1]

    def send(self, way, data, flags):
        ends = [(0x0A000001, 40_000), (0x0A000002, 80)]
        (source, from_port), (target, to_port) = ends if way == 0 else ends[::-1]
        for at in range(0, max(len(data), 1), 60_000):
            part = data[at : at + 60_000]
            tcp = struct.pack("!HHIIBBHHH", from_port, to_port, self.next[way] & 0xFFFFFFFF, self.next[1 - way] & 0xFFFFFFFF, 0x50, flags, 65_535, 0, 0)
            ip = struct.pack("!BBHHHBBHII", 0x45, 0, 40 + len(part), 0, 0, 64, 6, 0, source, target)
            self.time += 0.0001
            seconds, size = int(self.time), len(ip) + len(tcp) + len(part)
            self.out.write(struct.pack("<IIII", seconds, int((self.time - seconds) * 1e6), size, size) + ip + tcp + part)
            self.next[way] += len(part) + (1 if flags & 2 else 0)


def main():
    binary, limit = os.path.abspath(sys.argv[1]), int(sys.argv[2] if len(sys.argv) > 2 else 200) << 20
    folder = os.environ.get("APITAP_PACKAGES") or tempfile.mkdtemp(prefix="apitap-packages-")
    os.makedirs(folder, exist_ok=True)
    if not any(pathlib.Path(folder).glob("*.tgz")):
        fetch(folder)
    path = os.path.join(folder, "packages.pcap")
    capture, names, size = Capture(path), [], 0
    capture.send(0, b"", 2)
    capture.send(1, b"", 0x12)
    for name, data in files(folder):
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {TYPES[pathlib.Path(name).suffix]}\r\nContent-Length: {len(data)}\r\n\r\n"
        capture.send(0, f"GET /f/{len(names)} HTTP/1.1\r\nHost: files.example\r\n\r\n".encode(), 0x18)
        capture.send(1, head.encode() + data, 0x18)
        names.append(name)
        size += len(data)
        if size >= limit:
            break
    capture.out.close()
    found, calls = collections.defaultdict(list), 0
    run = subprocess.Popen([binary, "calls", "--quiet", path], stdout=subprocess.PIPE)
    for line in run.stdout:
        call = json.loads(line)
        calls += 1
        for sensitive in call.get("sensitive", {}).get("response", []):
            found[sensitive["class"]].append((names[int(call["path"].rsplit("/", 1)[1])], sensitive["count"]))
    print(f"{len(names)} files, {size >> 20} MiB, {calls} calls")
    for name, where in sorted(found.items()):
        print(f"  {'FALSE' if name in GRAVE else 'other'} {name}: {sum(count for _, count in where)} in {len(where)} files")
        if name in GRAVE:
            for file, count in where[:20]:
                print(f"        {count} {file}")
    grave = sum(len(where) for name, where in found.items() if name in GRAVE)
    print(f"{grave} false")
    sys.exit(1 if grave or calls != len(names) else 0)


if __name__ == "__main__":
    main()
