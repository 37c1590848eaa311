# SPDX-License-Identifier: Apache-2.0
"""Finds the checks of C sources and builds one program in which each can be broken.

In `if (a || b)`, `a`, `b` and the whole condition are each wrapped so that they can be switched off.
Which one is broken is a number in a small file that the program maps (mutant.c).
"""

import collections
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "build/mutate"
TREE = WORK / "tree"
BUILD = WORK / "build"
SIZE = 1 << 16  # bytes of the shared file: 4 for the mutant's number, then one for each mutant
REPLACED_REASON = "MQTT_UNSPECIFIED_ERROR"

Mutant = collections.namedtuple("Mutant", "id file line function kind before")


# ---- C text ------------------------------------------------------------------------------------


def blank(text):
    """The text with comments, literals and preprocessor lines replaced by blanks of equal length."""
    pattern = re.compile(
        r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#(?:\\\n|[^\n])*',
        re.DOTALL | re.MULTILINE)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def closing(text, at):
    """Index of the parenthesis that closes the one at `at`."""
    depth = 0
    for index in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ValueError("unbalanced")


def split_top(text, operators):
    """[(start, end, operator before it)] of the operands of `text` at its outermost level."""
    parts, depth, start, before, index = [], 0, 0, None, 0
    while index < len(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(text[index], 0)
        found = next((op for op in operators if depth == 0 and text.startswith(op, index)), None)
        if found:
            parts.append((start, index, before))
            before, index = found, index + len(found)
            start = index
        else:
            index += 1
    parts.append((start, len(text), before))
    return parts


PURE_CALL = re.compile(
    r"(\w+_(left|size|levels|len|count|valid|present|bytes|equal|of|with|mqtt|load_explicit)|sizeof|strlen)$")
MOVED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
NOT_BOUND = re.compile(r"->|<<|>>|==|!=")


def pure(blanked):
    """May it be evaluated once more than the program does?"""
    if re.search(r"\+\+|--|(?<![=!<>])=(?!=)", blanked):
        return False
    calls = re.findall(r"(\w+)\s*\(", blanked)
    return all(PURE_CALL.match(name) for name in calls)


def bound(blanked):
    """(start, end) of the one comparison at the outermost level, or None."""
    hidden = NOT_BOUND.sub("  ", blanked)
    flat, depth = [], 0
    for char in hidden:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(char, 0)
        flat.append(char if depth == 0 else " ")
    found = list(re.finditer(r"<=|>=|<|>", "".join(flat)))
    if len(found) != 1 or "?" in flat or re.search(r"==|!=", blanked):
        return None
    return found[0].span()


class File:
    """One source file, the places found in it, and its mutated text."""

    def __init__(self, path):
        self.path = path
        self.text = path.read_text()
        self.blanked = blank(self.text)
        self.name = str(path.relative_to(ROOT))

    def function_at(self, offset):
        names = re.findall(r"^(?!static const)[a-z_][^\n;={}]*?(\w+)\([^;{}]*\)\n\{", self.text[:offset],
                           re.MULTILINE)
        return names[-1] if names else "?"

    def in_function(self, offset):
        """Function bodies end with } in the first column; tables with };"""
        opened = self.blanked.rfind("\n{", 0, offset)
        return opened >= 0 and self.blanked.find("\n}", opened + 1, offset) < 0

    def expressions(self):
        """(start, end) of each condition and each returned comparison, && or ||."""
        for found in re.finditer(r"\b(?:if|while) \(", self.blanked):
            yield found.end(), closing(self.blanked, found.end() - 1)
        for found in re.finditer(r"\breturn ([^;]*(?:&&|\|\||[<>])[^;]*);", self.blanked):
            chosen = split_top(found.group(1), ["?"])[0]  # of a ternary: its condition
            yield found.start(1), found.start(1) + chosen[1]

    def broken(self, start, end, add):
        """The expression with each of its operands wrapped. add(kind) gives a new mutant's number."""
        text, blanked = self.text[start:end], self.blanked[start:end]
        for operator, neutral in (("||", 0), ("&&", 1)):
            parts = split_top(blanked, [operator])
            if len(parts) > 1:
                wrapped = [self.switched(start + at, start + until, neutral, add) for at, until, _ in parts]
                return f" {operator} ".join(wrapped)
        lead = len(blanked) - len(blanked.lstrip(" \n!"))
        if blanked[lead : lead + 1] == "(" and closing(blanked, lead) == len(blanked.rstrip()) - 1:
            inner = self.broken(start + lead + 1, start + len(blanked.rstrip()) - 1, add)
            return f"{text[:lead]}({inner})"
        at = bound(blanked)
        if at is None:
            return text
        left, operator, right = text[: at[0]], text[at[0] : at[1]], text[at[1] :]
        number = add(f"`{' '.join(text.split())}`: bound moved")
        mark = f"mutant_saw({number}, 0, ({left}) == ({right}))" if pure(blanked) else f"mutant_saw({number}, 0, 1)"
        return f"(mutant({number}) ? ({left}{MOVED[operator]}{right}) : ({mark}, ({text})))"

    def switched(self, start, end, neutral, add):
        """The operand wrapped so that it can be replaced by `neutral`."""
        number = add(f"`{' '.join(self.text[start:end].split())}` dropped")
        inner = self.broken(start, end, add)
        if not pure(self.blanked[start:end]):  # what it does besides would be missed, too
            return f"(mutant({number}) ? {neutral} : (mutant_saw({number}, 0, 1), !!({inner})))"
        return f"(mutant({number}) ? {neutral} : mutant_saw({number}, {neutral}, !!({inner})))"

    def reasons(self):
        """(start, end) of each reason code that a statement gives away."""
        for found in re.finditer(r"\bMQTT_[A-Z0-9_]+\b", self.blanked):
            line_start = self.blanked.rfind("\n", 0, found.start()) + 1
            statement = self.blanked[max(self.blanked.rfind(end, 0, found.start()) for end in ";{}:") :
                                     found.end()]
            line = self.blanked[line_start : found.end()]
            if found.group() in (REPLACED_REASON, "MQTT_SUCCESS") or "case " in line or re.search(r"[=!]= *$", line[: -len(found.group())]):
                continue
            if re.search(r"\breturn\b|fault|refuse|reason|close|disconnect", statement):
                yield found.start(), found.end()

    def place(self, start, end, kind, number):
        line = self.text.count("\n", 0, start) + 1
        return Mutant(number, self.name, line, self.function_at(start), kind,
                      " ".join(self.text[start:end].split()))

    def mutate(self, first_id, reason_codes, banned):
        """(mutants, mutated text). `banned`: lines that did not compile when mutated."""
        mutants, edits = [], []
        taken = set()
        for start, end in self.expressions():
            line = self.text.count("\n", 0, start) + 1
            if not self.in_function(start) or line in banned or "CHECK(" in self.text[start:end]:
                continue

            def add(kind, start=start, end=end):
                mutants.append(self.place(start, end, kind, first_id + len(mutants)))
                return mutants[-1].id

            if self.blanked[:start].endswith("return "):
                new = self.broken(start, end, add)
            else:
                new = self.switched(start, end, 0, add)
            edits.append((start, end, " ".join(new.split()) + "\n" * self.text.count("\n", start, end)))
            taken.update(range(start, end))
        for start, end in self.reasons():
            line = self.text.count("\n", 0, start) + 1
            name = self.text[start:end]
            if not self.in_function(start) or line in banned or start in taken or name not in reason_codes:
                continue
            number = first_id + len(mutants)
            mutants.append(self.place(start, end, f"`{name}` replaced", number))
            edits.append((start, end, f"(mutant_saw({number}, 0, 1), mutant({number}) ? {REPLACED_REASON} : {name})"))
        text = self.text
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[end:]
        return mutants, text


# ---- build -------------------------------------------------------------------------------------


def copy_tree():
    """A copy of what git would take, so that the checkout is never touched."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, check=True, capture_output=True, text=True).stdout
    shutil.rmtree(TREE, ignore_errors=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, TREE / name)
    for part in ("mutant.c", "mutant.h"):
        shutil.copy2(ROOT / "tools/mutate" / part, TREE / "src/base" / part)


def reason_codes():
    names = set(re.findall(r"\bMQTT_[A-Z0-9_]+\b", (ROOT / "src/model/reason.h").read_text()))
    return names if REPLACED_REASON in names else set()


def told_apart(mutants):
    """The same check twice in one function: the second is "#2"."""
    seen = collections.Counter()
    out = []
    for mutant in mutants:
        name = (mutant.file, mutant.function, mutant.kind)
        seen[name] += 1
        out.append(mutant if seen[name] == 1 else mutant._replace(kind=f"{mutant.kind} #{seen[name]}"))
    return out


def write_mutants(paths, banned):
    mutants = []
    for path in paths:
        found, text = File(path).mutate(len(mutants) + 1, reason_codes(), banned[str(path.relative_to(ROOT))])
        mutants += found
        target = TREE / path.relative_to(ROOT)
        if target.read_text() != '#include "base/mutant.h"\n#line 1\n' + text:
            target.write_text('#include "base/mutant.h"\n#line 1\n' + text)
    if len(mutants) + 8 > SIZE:
        sys.exit("mutate: more mutants than the shared file has room for")
    return told_apart(mutants)


def compile_mutants(paths):
    """Builds; what does not compile when mutated is left out and tried again."""
    banned = collections.defaultdict(set)
    configure = ["cmake", "-S", TREE, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
                 "-DCMAKE_C_FLAGS_DEBUG=-O1 -g1 -w"]
    for _ in range(20):
        mutants = write_mutants(paths, banned)
        subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run(["ninja", "-C", BUILD, "-k", "0"], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode == 0:
            return mutants
        errors = re.findall(r"^(?:.*/)?(src/\S+\.c):(\d+):\d+: error", done.stdout, re.MULTILINE)
        size = sum(map(len, banned.values()))
        for name, line in errors:
            banned[name].update(range(int(line) - 3, int(line) + 1))
        if sum(map(len, banned.values())) == size:
            print(done.stdout[-3000:])
            break
    sys.exit("mutate: does not build")
