#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Files over 800 lines and lines over 100 columns fail; functions over 70 lines are listed. Also
asks each C file for its SPDX line, and for no tabs and no marker of unfinished work.

A function begins at a line in the first column that opens no other declaration and is followed by
`{` in the first column (the house format guarantees both), and ends at the next `}` there.
"""

import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 800
FUNCTION_LINES_WISH = 70
COLUMNS_MAX = 100
FOLDERS = ["src", "include", "fuzz", "bench", "tests"]
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def functions(lines):
    """(name, first line number, length) of each function."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            head = start - 1
            while head > 0 and lines[head - 1].startswith((" ", "\t")):
                head -= 1
            name = re.search(r"(\w+)\(", lines[head - 1])
            yield name.group(1) if name else "?", start, number - start + 1
            start = None


def main():
    problems, warnings, lengths = [], [], []
    files = sorted(p for folder in FOLDERS for p in (ROOT / folder).glob("**/*.[ch]"))
    for path in files:
        name = path.relative_to(ROOT)
        lines = path.read_text().splitlines()
        if len(lines) > FILE_LINES_MAX:
            problems.append(f"{name}: {len(lines)} lines, at most {FILE_LINES_MAX}")
        if not lines or lines[0] != "/* SPDX-License-Identifier: Apache-2.0 */":
            problems.append(f"{name}: first line is not the SPDX line")
        for number, line in enumerate(lines, 1):
            if "\t" in line or UNFINISHED.search(line):
                problems.append(f"{name}:{number}: tab or unfinished work: {line.strip()}")
            if len(line) > COLUMNS_MAX:
                problems.append(f"{name}:{number}: {len(line)} columns, at most {COLUMNS_MAX}")
        for function, number, length in functions(lines):
            lengths.append(length)
            if length > FUNCTION_LINES_WISH:
                warnings.append(f"{name}:{number}: warning: {function} has {length} lines")
    if lengths:
        print(f"{len(files)} files, {len(lengths)} functions, median "
              f"{statistics.median(lengths):.0f} lines, {len(warnings)} over {FUNCTION_LINES_WISH}")
    print("\n".join(warnings + problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
