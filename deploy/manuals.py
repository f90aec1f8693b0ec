"""Writes the manual pages and the shell completions, from the commands and the configuration's schema themselves.

python deploy/manuals.py FOLDER   makes   mcp-ilert.1  mcp-ilert.yaml.5  mcp-ilert.bash  _mcp-ilert  mcp-ilert.fish
"""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from mcp_ilert import __version__
from mcp_ilert.cli import cli
from mcp_ilert.config.schema import json_schema

PROGRAM = "mcp-ilert"
EXITS = (
    ("0", "fine; also after SIGTERM or SIGINT"),
    ("1", "failure at run time: a port is taken, the spool is locked, the disk cannot be used"),
    ("2", "wrong usage or configuration"),
)
SIGNALS = (
    (
        "SIGTERM, SIGINT",
        "accept no more, finish what is being read, let deliveries in flight end; what waits stays",
    ),
    ("SIGHUP", "read the configuration, secrets and certificates again; an invalid file changes nothing"),
)
ENVIRONMENT = (
    ("MCP_ILERT__SECTION__KEY", "overrides a key of the configuration; its value is read as YAML"),
    ("STATE_DIRECTORY", "where the spool is unless spool.path says"),
    (
        "CREDENTIALS_DIRECTORY",
        "set by systemd; in the configuration ${CREDENTIALS_DIRECTORY}/NAME is a credential",
    ),
    ("NOTIFY_SOCKET, WATCHDOG_USEC", "set by systemd; see sd_notify(3)"),
    ("MCP_ILERT_URL, MCP_ILERT_TOKEN", "the bridge and the token of mcp-ilert send"),
)
FILES = (
    ("/etc/mcp-ilert/mcp-ilert.yaml", "the configuration, mcp-ilert.yaml(5)"),
    ("/var/lib/mcp-ilert/spool.db", "the spool: what was accepted and is not delivered"),
)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "mcp-ilert.1": program_page(),
        "mcp-ilert.yaml.5": configuration_page(),
        "mcp-ilert.bash": completion(BashComplete),
        "_mcp-ilert": completion(ZshComplete),
        "mcp-ilert.fish": completion(FishComplete),
    }
    for name, text in made.items():
        (folder / name).write_text(text)


def program_page() -> str:
    lines = [
        f'.TH MCP\\-ILERT 1 "" "mcp\\-ilert {roff(__version__)}"',
        *section("NAME", roff(f"{PROGRAM} - the durable bridge from MCP events to iLert")),
        *section(
            "SYNOPSIS",
            f".B {roff(PROGRAM)}",
            "COMMAND [OPTIONS]",
            ".br",
            f".B {roff(f'{PROGRAM} --config')}",
            "PATH",
        ),
        *section("DESCRIPTION", *paragraphs(DESCRIPTION)),
        *section("COMMANDS"),
    ]
    for names, command in commands(cli, (PROGRAM,)):
        lines += command_lines(names, command)
    lines += [
        *section("EXIT STATUS", *terms(EXITS)),
        *section("SIGNALS", *terms(SIGNALS)),
        *section("ENVIRONMENT", *terms(ENVIRONMENT)),
        *section("FILES", *terms(FILES)),
        *section("SEE ALSO", ".BR mcp\\-ilert.yaml (5),", ".BR systemctl (1)"),
    ]
    return "\n".join(lines) + "\n"


DESCRIPTION = """
Probes post events to it. It answers 202 once an event is synced to disk, and brings it to iLert, at iLert's pace,
through outages and restarts. An MCP event is a custom monitoring event, not one of the Model Context Protocol.

mcp-ilert --config PATH is the same as mcp-ilert serve --config PATH.
"""


def commands(group: click.Group, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command that does something by itself, with the words that call it."""
    for name, command in sorted(group.commands.items()):
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


def command_lines(names: tuple[str, ...], command: click.Command) -> list[str]:
    context = click.Context(command, info_name=" ".join(names))
    words = " ".join(command.collect_usage_pieces(context))
    options = [record for p in command.params if (record := p.get_help_record(context)) is not None]
    return [f'.SS "{roff(" ".join((*names, words)))}"', *paragraphs(command.help or ""), *terms(options)]


def configuration_page() -> str:
    schema = json_schema()
    found: list[str] = []
    for path, about in keys(schema, schema["$defs"], ""):
        default = "" if "default" not in about else f"Default: {json.dumps(about['default'])}."
        text = " ".join(filter(None, [about.get("description", ""), default]))
        found += terms([(path, text)])
    lines = [
        f'.TH MCP\\-ILERT.YAML 5 "" "mcp\\-ilert {roff(__version__)}"',
        *section("NAME", roff("mcp-ilert.yaml - the configuration of mcp-ilert")),
        *section("DESCRIPTION", *paragraphs(FORM)),
        *section("KEYS", *found),
        *section("EXAMPLE", ".nf", *(roff(line) for line in EXAMPLE.strip().splitlines()), ".fi"),
        *section("SEE ALSO", ".BR mcp\\-ilert (1)"),
    ]
    return "\n".join(lines) + "\n"


FORM = """
YAML or TOML, by the file's suffix. Unknown keys, wrong types and impossible values are errors, all reported at once:
mcp-ilert check-config PATH shows them, and mcp-ilert config-schema prints the JSON Schema.

${NAME} in a text stands for an environment variable, $${ for ${ itself. Each secret x may be given as x_file: a file
that holds it alone, read again when it changes. Relative paths start at the file's folder. SIGHUP reloads; ports,
addresses and spool.path need a restart.

In a key, [] stands for an element of a list, NAME for a name of your own.
"""

EXAMPLE = """
ilert:
  webhook_key_file: /run/credentials/mcp-ilert.service/webhook_key
listen:
  address: 127.0.0.1
routes:
  - match: {source: "lab-*"}
    drop: true
"""


def keys(
    schema: dict[str, Any], structs: dict[str, Any], prefix: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key below, with its schema."""
    for name, about in schema.get("properties", {}).items():
        path = prefix + name
        for below, kind in (
            ("", about),
            ("[]", about.get("items", {})),
            (".NAME", about.get("additionalProperties", {})),
        ):
            inner = struct_of(kind, structs)
            if inner is None:
                continue
            if below:
                yield path, about
            yield from keys(inner, structs, f"{path}{below}.")
            break
        else:
            yield path, about


def struct_of(kind: Any, structs: dict[str, Any]) -> dict[str, Any] | None:
    """What a reference in it names."""
    options = [kind, *kind.get("anyOf", ())] if isinstance(kind, dict) else []
    names = [option["$ref"].rsplit("/", 1)[1] for option in options if "$ref" in option]
    return structs[names[0]] if names else None


def section(title: str, *lines: str) -> list[str]:
    return [f".SH {title}", *lines]


def terms(pairs: Any) -> list[str]:
    return [
        line
        for term, text in pairs
        for line in (".TP", f".B {roff(term)}", roff(" ".join(text.split())) or "\\&")
    ]


def paragraphs(text: str) -> list[str]:
    """Text as click has it: blank lines part paragraphs, \\b begins one that keeps its lines."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        kept = paragraph.lstrip().startswith("\b")
        words = [roff(line) for line in paragraph.replace("\b\n", "").splitlines() if line.strip()]
        lines += [".PP", *([".nf", *words, ".fi"] if kept else words)]
    return lines


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    text = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def completion(shell: type[ShellComplete]) -> str:
    made = shell(cli, {}, PROGRAM, "_MCP_ILERT_COMPLETE")
    return made.source_template % made.source_vars() + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
