"""Random sequences of operations on files, with what Python's open() gives for each.

python_sequences.py COUNT DIRECTORY: one sequence a block of lines, strings in hexadecimal:
  file MODE ENCODING CONTENT
  read|readline SIZE RESULT POSITION      seek OFFSET WHENCE POSITION      write TEXT POSITION
  truncate POSITION                       end CONTENT
POSITION is "-" where Python's tell() gives no byte offset (UTF-16: it carries the decoder's state).
"""

import os
import random
import sys

LETTERS = ["a", "b", "\n", "\n", "\r\n", "é", "ß", "中", "文", "😀", "👨‍👩‍👧", "", "z" * 40, " "]
SINGLE = ["a", "b", "\n", "\n", "\r\n", "é", "ß", "", "z" * 40, " "]


def text_of(random_, encoding, most):
    letters = SINGLE if encoding == "latin-1" else LETTERS
    return "".join(random_.choice(letters) for _ in range(random_.randrange(most)))


def sequence(seed, path, out):
    random_ = random.Random(seed)
    binary = random_.random() < 0.4
    encoding = "-" if binary else random_.choice(["utf-8", "utf-8", "utf-8", "latin-1", "utf-16"])
    codec = "utf-8" if binary else encoding
    mode = random_.choice(["r", "r+", "r+", "w+", "a+", "a"]) + ("b" if binary else "")
    # Now and then longer than what is read ahead, at the start and later.
    most = random_.choice([0, 5, 5, 50, 50, 50, 50, 500, 500, 500, 5000] + [60000] * (seed % 250 == 0)) + 1
    content = b"" if most == 1 else text_of(random_, codec, most).encode(codec)
    with open(path, "wb") as file:
        file.write(content)
    out.append(f"file {mode} {encoding} {content.hex() or '-'}")
    kwargs = {} if binary else {"encoding": encoding, "newline": "\n"}
    with open(path, mode, **kwargs) as file:
        places = [0]
        tells = encoding != "utf-16"
        wrote_last = None

        def hexed(value):
            return (value if binary else value.encode("utf-8")).hex() or "-"

        def place():
            if not tells:
                return "-"
            position = file.tell()
            places.append(position)
            return str(position)

        if mode[0] == "a":
            out.append(f"seek 0 1 {place()}")
        for _ in range(random_.randrange(1, 25)):
            kind = random_.random()
            if kind < 0.5 and file.readable():
                if wrote_last and not binary:
                    file.flush()
                wrote_last = False
                size = random_.choice([-1, 0, 1, 1, 2, 3, 7, 50, 3000, 20000])
                name = random_.choice(["read", "readline"])
                result = getattr(file, name)(size)
                out.append(f"{name} {size} {hexed(result)} {place()}")
            elif kind < 0.75:
                whence = random_.choice([0, 0, 2, 1] if binary else [0, 0, 2])
                offset = 0
                if whence == 0:
                    offset = random_.choice(places)
                elif binary and whence == 2:
                    offset = -random_.randrange(os.fstat(file.fileno()).st_size + 1)
                elif binary:
                    offset = random_.randrange(20)
                if not tells and whence == 2 and mode[0] != "r":
                    continue  # Python forgets that the file has its mark, or writes another
                file.seek(offset, whence)
                wrote_last = False
                out.append(f"seek {offset} {whence} {place()}")
            elif kind < 0.95 and file.writable():
                if not tells and (mode[0] != "w" or wrote_last is False):
                    continue  # the same
                if not binary and tells and wrote_last is False:
                    # Python's text layer writes behind what it has read ahead: documented as a difference.
                    file.seek(file.tell())
                wrote_last = True
                if mode[0] == "a":
                    file.seek(0, 2)  # else Python counts from where it was: documented as a difference
                    out.append(f"seek 0 2 {place()}")
                if tells and mode[0] != "a":
                    start = file.tell()
                    places[:] = [each for each in places if each <= start]
                text = text_of(random_, codec, random_.choice([2, 10, 10, 10, 10, 10, 1000]))
                if not tells:
                    text += "a"  # Python writes the mark even before nothing: documented as a difference
                file.write(text.encode("utf-8") if binary else text)
                out.append(f"write {text.encode('utf-8').hex() or '-'} {place()}")
                if not binary and tells and mode[0] != "a":  # else what follows could begin within a character
                    file.truncate()
                    out.append(f"truncate {place()}")
            elif file.writable() and tells and mode[0] != "a":
                wrote_last = False
                file.seek(file.tell())
                file.truncate()
                out.append(f"truncate {place()}")
    with open(path, "rb") as file:
        out.append(f"end {file.read().hex() or '-'}")


def main():
    out = []
    path = os.path.join(sys.argv[2], "python.txt")
    for seed in range(int(sys.argv[1])):
        sequence(seed, path, out)
        sys.stdout.write("\n".join(out) + "\n")
        out.clear()


main()
