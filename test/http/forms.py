"""Compares kqnet/http/parts with the parsers of the packages python-multipart and multipart on generated bodies.

Usage: forms.py PORT COUNT SEED. The server answers with a line for each part: name, filename or "-", and data, in hex.

Well-formed bodies must be read alike by all three. Of bodies with a mistake, kqnet may refuse what the others accept, but what
it accepts must not be something else to them.
"""

import http.client
import logging
import random
import sys

import multipart
import python_multipart
from python_multipart.multipart import parse_options_header

port, count, seed = map(int, sys.argv[1:])
rand = random.Random(seed)
logging.disable()


def hexed(text):
    return text.hex() or "."


def line(name, filename, data):
    return f"{hexed(name)} {'-' if filename is None else hexed(filename)} {hexed(data)}"


def chunks(body):
    """The body in pieces of random sizes."""
    at = 0
    while at < len(body):
        end = at + rand.choice([1, 2, 7, 100, 5000])
        yield body[at:end]
        at = end


def with_multipart(body, boundary):
    lines = []
    with multipart.PushMultipartParser(boundary) as parser:
        data = b""
        for chunk in chunks(body):
            for event in parser.parse(chunk):
                if isinstance(event, multipart.MultipartSegment):
                    segment, data = event, b""
                elif event is not None:
                    data += event
                else:
                    filename = segment.filename
                    lines.append(line(segment.name.encode(), None if filename is None else filename.encode(), data))
            if parser.closed:
                break
    return lines


def with_python_multipart(body, boundary):
    lines = []
    part = {}

    def begin():
        part.clear()
        part.update(field=b"", value=b"", data=b"", headers={})

    def header_end():
        part["headers"][part["field"].lower()] = part["value"]
        part.update(field=b"", value=b"")

    def add(key):
        def added(data, start, end):
            part[key] += data[start:end]

        return added

    def part_end():
        _, options = parse_options_header(part["headers"][b"content-disposition"])
        lines.append(line(options[b"name"], options.get(b"filename"), part["data"]))

    parser = python_multipart.MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_part_data": add("data"),
            "on_part_end": part_end,
            "on_header_field": add("field"),
            "on_header_value": add("value"),
            "on_header_end": header_end,
        },
    )
    for chunk in chunks(body):
        parser.write(chunk)
    parser.finalize()
    if parser.state != python_multipart.multipart.MultipartState.END:
        raise ValueError("not complete")
    return lines


def generate_data(boundary):
    pieces = [
        b"\r\n", b"\r", b"\n", b"--", b"\r\n--", b"\r\n-", b"\n--" + boundary, b"--" + boundary, boundary,
        b"\r\n--" + boundary[: rand.randrange(len(boundary))], b"\r\n\r\n", bytes(rand.randrange(256) for _ in range(30)),
    ]
    return b"".join(rand.choice(pieces) for _ in range(rand.randrange(8)))


def generate(boundary):
    """A well-formed body, and what it says."""
    parts = []
    body = rand.choice([b"", b"", b"\r\n"])
    for _ in range(rand.randrange(1, 5)):
        name = rand.choice(["a", "name with spaces", "é", "a[]", "x" * 100]).encode()
        filename = rand.choice([None, "b.txt", "日本 語.txt", "semi;colon=.txt"])
        filename = filename and filename.encode()
        data = generate_data(boundary)
        # By accident it may have the delimiter.
        if b"\r\n--" + boundary in b"\r\n" + data:
            data = b"plain"
        head = b'Content-Disposition: form-data; name="' + name + b'"'
        if filename is not None:
            head += b'; filename="' + filename + b'"\r\nContent-Type: text/plain'
        if rand.randrange(5) == 0:
            head = b"X-Other: 1\r\n" + head
        body += b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n"
        parts.append(line(name, filename, data))
    return body + b"--" + boundary + b"--\r\n", parts


def mutate(body):
    at = rand.randrange(len(body))
    kind = rand.randrange(4)
    if kind == 0:
        return body[:at]
    if kind == 1:
        return body[:at] + rand.choice([b"\r", b"\n", b"-", b" ", b"\0", b'"', b";"]) + body[at:]
    if kind == 2:
        return body[:at] + body[at + rand.randrange(1, 4) :]
    end = at + rand.randrange(1, 60)
    return body[:end] + body[at:end] + body[end:]


connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def with_kqnet(body, boundary):
    connection.request("POST", "/", body, {"Content-Type": f'multipart/form-data; boundary="{boundary.decode()}"'})
    response = connection.getresponse()
    text = response.read().decode()
    if response.status == 400:
        return None
    assert response.status == 200, (response.status, text)
    return text.split("\n")[:-1]


others = {"multipart": with_multipart, "python-multipart": with_python_multipart}
results = {"accepted": 0, "refused": 0}

for number in range(count):
    boundary = rand.choice([b"x", b"----WebKitFormBoundaryAaB03x", b"=_" + b"y" * 60, b"-" * 5])
    body, parts = generate(boundary)
    assert with_kqnet(body, boundary) == parts, body
    for name, parse in others.items():
        assert parse(body, boundary) == parts, (name, body)
    body = mutate(body)
    ours = with_kqnet(body, boundary)
    results["refused" if ours is None else "accepted"] += 1
    if ours is None:
        continue
    for name, parse in others.items():
        try:
            theirs = parse(body, boundary)
        except Exception:
            continue
        assert theirs == ours, (name, body, theirs, ours)

print(results)
