"""Random files read and written as text in every way, with what Python's open() gives for each.

python_text.py COUNT DIRECTORY: one file a block of lines, strings in hexadecimal, "-" for an empty one:
  file MODE ENCODING ERRORS NEWLINE CONTENT
mode r: text RESULT    lines RESULT ...    and operations on another stream from its start:
  read|readline SIZE RESULT POSITION       iterate RESULT -
mode w, a: write TEXT
and at last
  end CONTENT
NEWLINE is the word of OpenOptions. POSITION is "-" where Python's tell() gives no byte offset, or another one that leads
to the same text.
"""

import os
import random
import sys

NEWLINES = {"none": "\n", "universal": None, "\n": "\n", "\r\n": "\r\n"}
LETTERS = ["a", "b", "\n", "\r", "\r\n", "\r\r\n", "中", "文", "z" * 40, " ", "\n\n"]
MORE = {"utf-8": ["é", "😀"], "utf-16": ["é", "😀"], "latin-1": ["é"], "shift_jis": ["ｶ"]}
WRONG = {
    "utf-8": [b"\xff", b"\xe4", b"\xe4\xb8", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\x80", b"\xc0\xaf"],
    "utf-16": [b"\x3d\xd8", b"\x00\xde"],
    "latin-1": [],
    "shift_jis": [b"\xff", b"\xfe"],
}


def piece(random_, encoding, wrong):
    if wrong and random_.random() < 0.2:
        return random_.choice(WRONG[encoding] or [b"\xff"])
    codec = "utf-16-le" if encoding == "utf-16" else encoding
    return random_.choice(LETTERS + MORE[encoding]).encode(codec, "ignore")


def hexed(text):
    return text.encode("utf-8").hex() or "-"


def reads(random_, path, options, out):
    with open(path, "r", **options) as file:
        out.append(f"text {hexed(file.read())}")
    with open(path, "r", **options) as file:
        out.append("lines " + " ".join(map(hexed, file.readlines())))
    exact = options["errors"] == "strict" and options["encoding"] != "utf-16"
    with open(path, "r", **options) as file:
        for _ in range(random_.randrange(20)):
            name = random_.choice(["read", "readline"])
            size = random_.choice([-1, 1, 1, 2, 3, 7, 50] if name == "readline" else [1, 1, 2, 3, 7, 50, 3000])
            result = getattr(file, name)(size)
            position = file.tell()
            shown = str(position) if exact and position < 1 << 62 else "-"
            out.append(f"{name} {size} {hexed(result)} {shown}")
        out.append(f"iterate {''.join(hexed(line) + ',' for line in file) or '-'} -")


def writes(random_, path, mode, options, out):
    with open(path, mode, **options) as file:
        for _ in range(random_.randrange(1, 10)):
            letters = LETTERS + ["é", "ж", "😀"]
            if options["errors"] == "strict":
                letters = [each for each in letters if each.encode(options["encoding"], "ignore")]
            text = "".join(random_.choice(letters) for _ in range(random_.choice([1, 3, 10, 10, 300])))
            file.write(text)
            out.append(f"write {hexed(text)}")


def block(seed, path, out):
    random_ = random.Random(seed)
    encoding = random_.choice(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1", "shift_jis"])
    errors = random_.choice(["strict", "replace", "ignore"])
    newline = random_.choice(list(NEWLINES))
    # A mark is written before the first text, whatever the file has.
    mode = random_.choice(["r", "r", "r", "w", "a"] if encoding != "utf-16" else ["r", "r", "w"])
    # Now and then longer than what is read ahead.
    count = random_.choice([0, 1, 2, 5, 20, 20, 20, 300] + [20000] * (seed % 100 == 0))
    content = b"".join(piece(random_, encoding, errors != "strict") for _ in range(count))
    if mode == "r" and errors != "strict" and random_.random() < 0.2 and encoding != "latin-1":
        content += {"utf-8": b"\xf0\x9f", "utf-16": b"\x3d\xd8a", "shift_jis": b"\x93"}[encoding]
    if encoding == "utf-16":
        content = b"\xff\xfe" + content
    with open(path, "wb") as file:
        file.write(content)
    out.append(f"file {mode} {encoding} {errors} {newline.encode().hex()} {content.hex() or '-'}")
    options = {"encoding": encoding, "errors": errors, "newline": NEWLINES[newline]}
    if mode == "r":
        reads(random_, path, options, out)
    else:
        writes(random_, path, mode, options, out)
    with open(path, "rb") as file:
        out.append(f"end {file.read().hex() or '-'}")


def main():
    path = os.path.join(sys.argv[2], "python.txt")
    for seed in range(int(sys.argv[1])):
        out = []
        block(seed, path, out)
        sys.stdout.write("\n".join(out) + "\n")


main()
