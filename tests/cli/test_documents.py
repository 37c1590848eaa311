# SPDX-License-Identifier: Apache-2.0
"""What `skein docs` writes: up to date in the tree, and good for what it is for."""

import json
import re
import shutil
import subprocess

import jsonschema
import pytest
import yaml

from kit.broker import ROOT

MAN_PAGES = ["skein", "skein-serve", "skein-ctl", "skein-pub", "skein-sub", "skein-bench", "skein-store",
             "skein-cluster", "skein-version"]


@pytest.mark.parametrize("name", ["config.md", "config.schema.json", "cli.md", "metrics.md", "api.md"])
def test_reference_in_the_tree_is_what_the_program_writes(generated, name):
    kept = (ROOT / "docs/reference" / name).read_text()
    assert kept == (generated / "reference" / name).read_text(), "run ./dev docs"


def test_folder_that_cannot_be_made_is_an_io_error(skein, tmp_path):
    done = skein("docs", tmp_path / "none/out")
    assert done.returncode == 74
    assert done.stderr == f"skein docs: {tmp_path}/none/out: No such file or directory\n"


def test_links_of_the_reference_lead_somewhere(generated):
    pages = {path.name: path.read_text() for path in (generated / "reference").iterdir()}
    for name, text in pages.items():
        for file, anchor in re.findall(r"\]\(([\w.]*)(?:#([\w-]+))?\)", text):
            page = pages[file or name]
            heads = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
            assert not anchor or anchor in [h.lower().replace(" ", "-").strip("`") for h in heads]


# ---- skein.yaml -------------------------------------------------------------------------------


def every_key(text):
    """The default file with its keys uncommented: `#key`, `#  - entry`, but not `# words`."""
    return re.sub(r"^( *)#(?=\S|  )", r"\1", text, flags=re.MULTILINE)


def test_default_file_is_good_with_and_without_its_comments(skein, generated, config_file):
    text = (generated / "skein.yaml").read_text()
    for each in text, every_key(text):
        assert skein("serve", "--check", "-c", config_file(each)).returncode == 0


def test_default_file_names_every_key_of_the_reference(generated):
    tree = yaml.safe_load(every_key((generated / "skein.yaml").read_text()))
    shown = {key for part in tree.values() if isinstance(part, dict) for key in part}
    reference = (generated / "reference/config.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (?:switch|text|choice|number|size|duration|\[list)",
                      reference, re.MULTILINE)
    assert shown | set(tree) >= set(rows)
    assert len(rows) >= 40


# ---- JSON Schema ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validator(generated):
    schema = json.loads((generated / "reference/config.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_schema_takes_the_default_file_with_every_key(validator, generated):
    validator.validate(yaml.safe_load(every_key((generated / "skein.yaml").read_text())))


@pytest.mark.parametrize("text", [
    "workers: 4",
    "limits: {packet_bytes: 64KiB, connect_timeout: 500ms, memory_bytes: 1073741824}",
    "mqtt: {session_expiry_max: unlimited}",
    "broker: {sys_interval: 0}",
    "limits:",
    "listeners: [{address: '[::1]:1883', transport: ws}]",
    "listeners: [{address: '127.0.0.1:1', proxy_protocol: required}, {address: '127.0.0.1:2', proxy_protocol: 'off'}]",
    "listeners: [{address: '127.0.0.1:1', proxy_protocol: v2}]",
    "workers: many",
    "workers: 257",
    "wrokers: 4",
    "limits: {conections: 4}",
    "limits: {connect_timeout: 10}",
    "limits: {packet_bytes: 10X}",
    "log: {level: loud}",
    "allow_anonymous: 'true'",
    "listeners: []",
    "listeners: [{transport: ws}]",
    "listeners: [{address: '127.0.0.1:1', tls: true}]",
])
def test_schema_and_program_agree(skein, validator, config_file, text):
    accepted = skein("serve", "--check", "-c", config_file(text)).returncode == 0
    assert validator.is_valid(yaml.safe_load(text)) == accepted


# ---- man pages --------------------------------------------------------------------------------


def test_there_is_a_man_page_for_every_command(generated):
    assert sorted(path.stem for path in (generated / "man").iterdir()) == sorted(MAN_PAGES)


@pytest.mark.parametrize("page", MAN_PAGES)
def test_man_page_renders_without_a_warning(generated, page):
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", generated / f"man/{page}.1"],
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert page.split("-")[0] in done.stdout


# ---- completion -------------------------------------------------------------------------------


def complete(generated, *words):
    """What bash offers behind `skein WORDS`, the last of which is being written."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
              'compopt() { :; }; _skein; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", generated / "completions/skein.bash",
                           "skein", *words], capture_output=True, text=True, cwd=generated)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash_completion_parses(generated):
    done = subprocess.run(["bash", "-n", generated / "completions/skein.bash"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_bash_completes_commands(generated):
    assert complete(generated, "s") == ["serve", "sub", "store"]


def test_bash_completes_options(generated):
    assert complete(generated, "serve", "--ch") == ["--check"]


def test_bash_completes_files_for_an_option_that_takes_one(generated):
    assert complete(generated, "serve", "-c", "skein.y") == ["skein.yaml"]
    assert complete(generated, "serve", "--config", "=", "skein.y") == ["skein.yaml"]


def test_bash_completes_keys_of_the_configuration(generated):
    assert complete(generated, "serve", "--set", "limits.conn") == [
        "limits.connections=", "limits.connect_timeout="]


def test_bash_offers_nothing_for_an_argument_it_cannot_know(generated):
    assert complete(generated, "serve", "-p", "") == []


@pytest.mark.parametrize(("shell", "script"), [("zsh", "_skein"), ("fish", "skein.fish")])
def test_completion_for_other_shells_parses(generated, shell, script):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", generated / "completions" / script], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("script", ["_skein", "skein.fish"])
def test_completion_for_other_shells_knows_every_long_option(generated, skein, script):
    text = (generated / "completions" / script).read_text()
    for command in ["serve", "pub", "sub", "bench"]:
        page = skein(command, "--help").stdout
        for name in re.findall(r"^  (?:-\w, |    )--([\w-]+)", page, re.MULTILINE):
            assert f"--{name}" in text or f"-l {name}" in text
