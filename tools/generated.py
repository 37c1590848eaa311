#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Files in the tree that `skein docs DIR` and tools/trace.py write from the tables in the code.

    tools/generated.py write [SKEIN]     write them again (SKEIN: build/debug/skein)
    tools/generated.py check [SKEIN]     fail when one of them would change
"""

import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Where the tree keeps what the program writes under DIR; man pages and completions are only installed.
KEPT = {"reference": "docs/reference", "skein.yaml": "packaging/skein.yaml"}
# What tools/trace.py writes.
FROM_TRACE = "docs/conformance.md"


def generate(skein, folder):
    """{path in the tree: text} as the code would have it now."""
    subprocess.run([skein, "docs", folder], check=True)
    texts = {}
    for made, kept in KEPT.items():
        for path in (folder / made).glob("*") if (folder / made).is_dir() else [folder / made]:
            name = f"{kept}/{path.name}" if path.parent != folder else kept
            texts[name] = path.read_text()
    if (ROOT / "tools/trace.py").exists():
        out = folder / "conformance.md"
        subprocess.run([sys.executable, ROOT / "tools/trace.py", "write", out], check=True)
        texts[FROM_TRACE] = out.read_text()
    return texts


def main():
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode not in ("write", "check"):
        print(__doc__)
        return 64
    skein = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "build/debug/skein").absolute()
    if not skein.exists():
        print(f"{skein} is not built")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        texts = generate(skein, pathlib.Path(folder))
    stale = []
    for name, text in texts.items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if mode == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for name in stale:
        print(f"{name}: {'written' if mode == 'write' else 'not what the code says; run ./dev docs'}")
    return 1 if stale and mode == "check" else 0


if __name__ == "__main__":
    sys.exit(main())
