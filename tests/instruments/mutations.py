"""Ways in which files go wrong: bytes flipped, cut or zeroed, columns shuffled or renamed, other encodings."""

from __future__ import annotations

from random import Random

SEPARATORS = {"biologic.mpt": "\t", "own.txt": ";"}
BINARY = (b"PK", b"PAR1")


def mutated(rng: Random, content: bytes, name: str) -> bytes:
    """`content` damaged in one way."""
    if content.startswith(BINARY) or rng.random() < 0.4:
        return rng.choice((_flipped, _cut, _zeroed))(rng, content)
    encoding = next(one for one in ("utf-8", "gb18030", "latin-1") if _decodes(content, one))
    lines = content.decode(encoding).splitlines(keepends=True)
    separator = SEPARATORS.get(name, ",")
    way = rng.choice((_shuffled, _renamed, _swapped, _line, _digit, None))
    if way is None:
        other = rng.choice(("utf-16", "utf-8-sig", "gb18030", "utf-16-le"))
        return "".join(lines).encode(other, errors="replace")
    return "".join(way(rng, lines, separator)).encode(encoding, errors="replace")


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _flipped(rng: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 10, 100))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def _zeroed(rng: Random, content: bytes) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes(rng.choice((16, 512))) + content[at + 16 :]


def _header(lines: list[str], separator: str) -> int:
    words = ("volt", "电压", "ewe")
    return next(
        n for n, line in enumerate(lines) if line.count(separator) >= 3 and any(w in line.lower() for w in words)
    )


def _shuffled(rng: Random, lines: list[str], separator: str) -> list[str]:
    at = _header(lines, separator)
    order = list(range(len(lines[at].split(separator))))
    rng.shuffle(order)
    rows = [line.rstrip("\r\n").split(separator) for line in lines[at:]]
    return lines[:at] + [separator.join(row[n] if n < len(row) else "" for n in order) + "\n" for row in rows]


def _renamed(rng: Random, lines: list[str], separator: str) -> list[str]:
    at = _header(lines, separator)
    names = lines[at].rstrip("\r\n").split(separator)
    place = rng.randrange(len(names))
    names[place] = rng.choice(("foo", "", "Voltage", f"x{names[place]}", names[place][:-1], "Current(A)", "Voltage(V)"))
    return [*lines[:at], separator.join(names) + "\n", *lines[at + 1 :]]


def _swapped(rng: Random, lines: list[str], separator: str) -> list[str]:
    at = _header(lines, separator)
    names = lines[at].rstrip("\r\n").split(separator)
    one, other = rng.sample(range(len(names)), 2)
    names[one], names[other] = names[other], names[one]
    return [*lines[:at], separator.join(names) + "\n", *lines[at + 1 :]]


def _line(rng: Random, lines: list[str], separator: str) -> list[str]:
    at = rng.randrange(len(lines))
    return rng.choice(
        (
            lines[:at] + lines[at + 1 :],
            [*lines[:at], lines[at], *lines[at:]],
            [*lines[:at], "xx,yy\n", *lines[at + 1 :]],
        )
    )


def _digit(rng: Random, lines: list[str], separator: str) -> list[str]:
    at = rng.randrange(_header(lines, separator) + 1, len(lines))
    line = lines[at]
    place = rng.choice([n for n, letter in enumerate(line) if letter.isdigit()])
    return [*lines[:at], line[:place] + rng.choice("0123456789") + line[place + 1 :], *lines[at + 1 :]]
