"""Compares what apitap says of TLS with what tshark says, over every capture of a folder.

usage: tls.py FOLDER APITAP

Of each connection: the name of the server, JA4 (put together here out of the fields that tshark prints, as its versions before
4.2 have none) and JA3S. Of captures with a key log (NAME.keys beside NAME.pcap): every call that tshark decrypts. Prints
what differs, and fails if anything does. Without tshark it says so and succeeds.
"""
import collections
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

HELLO = ["ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport", "tcp.stream", "tls.handshake.type",
         "tls.handshake.version", "tls.handshake.ciphersuite", "tls.handshake.extension.type",
         "tls.handshake.sig_hash_alg", "tls.handshake.sig_hash_alg_len", "tls.handshake.extensions.supported_version",
         "tls.handshake.extensions_alpn_str", "tls.handshake.extensions_server_name", "tls.handshake.ja3s"]
CALL = ["tcp.stream", "http.request.method", "http.request.uri", "http.response.code",
        "http2.headers.method", "http2.headers.path", "http2.headers.status"]


def tshark(pcap, wanted, fields, keys=None, ports=()):
    """The rows of the frames that are wanted, each field a list of values; on these ports there is TLS."""
    command = ["tshark", "-n", "-r", pcap, "-2", "-R", wanted, "-T", "fields", "-E", "occurrence=a", "-E", "separator=/t",
               "-E", "aggregator=|", "-o", "tcp.reassemble_out_of_order:TRUE"]
    if keys:
        command += ["-o", f"tls.keylog_file:{keys}"]
    for port in ports:
        command += ["-d", f"tcp.port=={port},tls"]
    for field in fields:
        command += ["-e", field]
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace").stdout
    for line in output.splitlines():
        values = line.split("\t")
        yield {field: value.split("|") if value else [] for field, value in zip(fields, values)}


def is_grease(value):
    return value & 0x0f0f == 0x0a0a and value >> 8 == value & 0xff


def numbers(texts):
    return [value for value in (int(text, 0) for text in texts) if not is_grease(value)]


def short_hash(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12


def signature_algorithms(row):
    """Those of the extension of this name; tshark lists them with those for delegated credentials and certificates."""
    rest, lengths = row["tls.handshake.sig_hash_alg"], [int(length) for length in row["tls.handshake.sig_hash_alg_len"]]
    lists = [number for number in numbers(row["tls.handshake.extension.type"]) if number in (13, 34, 50)]
    for number, length in zip(lists, lengths):
        if number == 13:
            return rest[:length // 2]
        rest = rest[length // 2:]
    return []


def ja4(row):
    ciphers, extensions = numbers(row["tls.handshake.ciphersuite"]), numbers(row["tls.handshake.extension.type"])
    algorithms = numbers(signature_algorithms(row))
    versions = numbers(row["tls.handshake.extensions.supported_version"]) or numbers(row["tls.handshake.version"])
    version = {0x304: "13", 0x303: "12", 0x302: "11", 0x301: "10", 0x300: "s3", 2: "s2"}.get(max(versions), "00")
    protocol = (row["tls.handshake.extensions_alpn_str"] or [""])[0]
    ends = "00"
    if protocol:
        plain = all(end.isascii() and end.isalnum() for end in (protocol[0], protocol[-1]))
        text = protocol if plain else protocol.encode().hex()
        ends = text[0] + text[-1]
    rest = ",".join(f"{number:04x}" for number in sorted(extensions) if number not in (0, 16))
    if rest and algorithms:
        rest += "_" + ",".join(f"{number:04x}" for number in algorithms)
    return (f"t{version}{'d' if 0 in extensions else 'i'}{min(len(ciphers), 99):02}{min(len(extensions), 99):02}{ends}"
            f"_{short_hash(','.join(f'{number:04x}' for number in sorted(ciphers)))}_{short_hash(rest)}")


def ends_of(row):
    source, destination = (row["ip.src"] + row["ipv6.src"])[-1], (row["ip.dst"] + row["ipv6.dst"])[-1]
    return f"{source} {row['tcp.srcport'][-1]}", f"{destination} {row['tcp.dstport'][-1]}"


def tshark_hellos(pcap, ports):
    """What the two hellos of each connection say: by (client, server)."""
    found, streams = collections.defaultdict(list), {}
    for row in tshark(pcap, "tcp && (tls.handshake.type == 1 || tls.handshake.type == 2)", HELLO, ports=ports):
        types, stream = row["tls.handshake.type"], row["tcp.stream"][0]
        if types[0] == "1" and ("client", stream) not in streams:
            streams["client", stream] = True
            source, destination = ends_of(row)
            name = (row["tls.handshake.extensions_server_name"] or [None])[0]
            alone = types == ["1"]
            found[source, destination].append(("client", ja4(row) if alone else None, name and name.lower()))
        elif "2" in types and row["tls.handshake.ja3s"]:
            source, destination = ends_of(row)
            # Those of a retry come first, and are not the server's choice yet.
            found[destination, source] = [entry for entry in found[destination, source] if entry[:2] != ("server", stream)]
            found[destination, source].append(("server", stream, row["tls.handshake.ja3s"][-1]))
    return {ends: sorted((entry[0], entry[1] if entry[0] == "client" else entry[2], entry[2]) for entry in entries)
            for ends, entries in found.items()}


def apitap(program, pcap, key, keys=None):
    command = [program, "calls", "--quiet", "--key-file", key, pcap] + (["--keylog", keys] if keys else [])
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def apitap_hellos(records):
    found = collections.defaultdict(list)
    for record in records:
        tls = record.get("tls")
        if not tls or record["schema"] != "apitap.connection.v1" or record.get("open"):
            continue
        ends = tuple(f"{record[end]['ip']} {record[end]['port']}" for end in ("client", "server"))
        if "ja4" in tls:
            found[ends].append(("client", tls["ja4"], tls.get("server_name")))
        if "ja3s" in tls:
            found[ends].append(("server", tls["ja3s"], tls["ja3s"]))
    return {ends: sorted(entries) for ends, entries in found.items()}


def compare_hellos(name, pcap, program, key):
    ours = apitap_hellos(apitap(program, pcap, key))
    theirs = tshark_hellos(pcap, sorted({server.split()[1] for _, server in ours}))
    differ = 0
    for ends in sorted(set(theirs) | set(ours)):
        expected, found = theirs.get(ends, []), ours.get(ends, [])
        for entry in expected:
            same = [other for other in found if other[0] == entry[0] and entry[1] in (None, other[1])]
            if same:
                found = [other for other in found if other is not same[0]]
            else:
                differ += 1
                print(f"{name}: {ends}: tshark has {entry}")
        for entry in found:
            differ += 1
            print(f"{name}: {ends}: apitap has {entry}")
    return sum(len(entries) for entries in theirs.values()), differ


def compare_calls(name, pcap, program, key):
    keys = os.path.splitext(pcap)[0] + ".keys"
    keys = keys if os.path.exists(keys) else None
    requests, statuses = collections.Counter(), collections.Counter()
    for row in tshark(pcap, "tls && (http || http2.headers)", CALL, keys):
        requests.update(zip(row["http.request.method"], row["http.request.uri"]))
        requests.update(zip(row["http2.headers.method"], row["http2.headers.path"]))
        for status in row["http.response.code"] + row["http2.headers.status"]:
            if not status.startswith("1"):
                statuses[int(status)] += 1
    calls = [record for record in apitap(program, pcap, key, keys) if "method" in record and "tls" in record]
    differ = 0
    found = collections.Counter((call["method"], call["target"]) for call in calls)
    answers = collections.Counter(call["status"] for call in calls if "status" in call)
    for what, theirs, ours in [("requests", requests, found), ("statuses", statuses, answers)]:
        for sign, more in [("tshark", theirs - ours), ("apitap", ours - theirs)]:
            for entry, count in sorted(more.items(), key=repr):
                differ += count
                print(f"{name}: {what}: {sign} has {entry} {count} times more")
    return sum(requests.values()), differ


def main():
    folder, program = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    if not shutil.which("tshark"):
        print("skipped: tshark is not installed")
        return
    hellos = calls = differ = 0
    with tempfile.TemporaryDirectory() as state:
        key = os.path.join(state, "key")
        with open(key, "wb") as out:
            out.write(bytes(16))
        for path, _, files in sorted(os.walk(folder)):
            for file in sorted(files):
                if not file.endswith((".pcap", ".pcapng")):
                    continue
                pcap = os.path.join(path, file)
                name = os.path.relpath(pcap, folder)
                count, wrong = compare_hellos(name, pcap, program, key)
                hellos, differ = hellos + count, differ + wrong
                if os.path.exists(os.path.splitext(pcap)[0] + ".keys") or "embedded" in file:
                    count, wrong = compare_calls(name, pcap, program, key)
                    calls, differ = calls + count, differ + wrong
    print(f"tls: {hellos} hellos and {calls} decrypted requests of tshark compared, {differ} differ")
    if differ:
        sys.exit(1)


main()
