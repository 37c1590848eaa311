#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds every #include under src/ to the layers written in src/CMakeLists.txt.

A file of folder y includes "y/..." or a folder that y's line lists after USES, and a library's
header only when the line lists that library after LIBS. A line names only folders above it.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Which imported target a library's headers belong to.
LIBRARY_HEADERS = {
    "uv.h": "PkgConfig::UV",
    "urcu": "PkgConfig::URCU",
    "xxhash.h": "PkgConfig::XXHASH",
    "yaml.h": "PkgConfig::YAML",
    "openssl/": "PkgConfig::CRYPTO",
    "systemd/": "PkgConfig::SYSTEMD",
    "jansson.h": "PkgConfig::JANSSON",
    "wslay/": "wslay",
    "http_parser.h": "http_parser",
}


def read_table(path):
    """{folder: (uses, libs)} in the order written."""
    table = {}
    text = re.sub(r"#.*", "", path.read_text())
    for call in re.findall(r"skein_folder\(([^)]*)\)", text):
        words = call.split()
        lists = {"USES": [], "LIBS": []}
        current = None
        for word in words[1:]:
            if word in lists:
                current = lists[word]
            else:
                current.append(word)
        table[words[0]] = (lists["USES"], lists["LIBS"])
    return table


def library_of(header):
    for prefix, target in LIBRARY_HEADERS.items():
        if header.startswith(prefix):
            return target
    return None


def check_table(table):
    above = set()
    for folder, (uses, _) in table.items():
        for used in uses:
            if used not in above:
                yield f"src/CMakeLists.txt: {folder} uses {used}, which is not above it"
        above.add(folder)
    for path in sorted((ROOT / "src").iterdir()):
        if path.is_dir() and path.name not in table:
            yield f"src/{path.name}: has no line in src/CMakeLists.txt"


def check_file(path, folder, table):
    uses, libs = table[folder]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        where = f"{path.relative_to(ROOT)}:{number}"
        bracket, header = found.groups()
        if bracket == '"':
            target = header.split("/")[0]
            if "/" not in header or target not in table:
                yield f'{where}: "{header}" is not written as "folder/file.h"'
            elif target != folder and target not in uses:
                yield f"{where}: {folder} may not include {target} (src/CMakeLists.txt)"
        elif header == "cmocka.h" and not path.name.endswith(("_test.c", "_fixture.h")):
            yield f"{where}: cmocka outside a test"
        elif library_of(header) not in (None, *libs):
            yield f"{where}: {folder} does not list {library_of(header)} (src/CMakeLists.txt)"


def main():
    table = read_table(ROOT / "src/CMakeLists.txt")
    problems = list(check_table(table))
    files = 0
    for folder in table:
        for path in sorted((ROOT / "src" / folder).glob("**/*.[ch]")):
            files += 1
            problems += check_file(path, folder, table)
    print("\n".join(problems) if problems else f"{files} files in {len(table)} folders")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
