"""The tables in the chart's README, made of values.yaml and values.schema.json.

values_table.py          writes them
values_table.py --check  fails where they are stale, where a value has no comment, or no place in the schema
"""

import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).parent.parent.parent / "helm" / "callward"
# Shown whole: a comment above them speaks for all that is in them.
WHOLE = {"resources", "podSecurityContext", "securityContext", "updateStrategy", "networkPolicy.egress.dns.to"}


def comments(text):
    """Path of each key → the comment right above it."""
    found, path, above = {}, [], []
    for line in text.splitlines():
        if match := re.match(r"( *)# ?(.*)", line):
            above.append(match[2])
        elif match := re.match(r"( *)([A-Za-z]\w*):", line):
            depth = len(match[1]) // 2
            path = path[:depth] + [match[2]]
            found[".".join(path)] = " ".join(above)
            above = []
        else:
            above = []
    return found


def leaves(values, path=""):
    for key, value in values.items():
        name = f"{path}{key}"
        if isinstance(value, dict) and value and name not in WHOLE:
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def cell(text):
    return text.replace("|", "\\|")


def code(value):
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def values_table(values, said):
    rows = [f"| `{name}` | {code(value)} | {cell(said[name])} |" for name, value in leaves(values)]
    return ["| value | default | meaning |", "| --- | --- | --- |", *rows]


def config_table(schema):
    rows = []
    for section, content in schema["definitions"]["config"]["properties"].items():
        for key, setting in content["properties"].items():
            if not setting["description"].startswith("Written by the chart"):
                choice = f" One of {', '.join(f'`{one}`' for one in setting['enum'])}." if "enum" in setting else ""
                meaning = cell(setting["description"] + choice)
                rows.append(f"| `config.{section}.{key}` | {code(setting['default'])} | {meaning} |")
    return ["| key | program's default | meaning |", "| --- | --- | --- |", *rows]


def between(text, name, lines):
    begin, end = f"<!-- {name}: made by tests/helm/values_table.py -->", f"<!-- end of {name} -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return "\n".join([before + begin, *lines, end]) + after


def unknown_to(schema, root, value, path):
    """Paths of `value` that the schema does not name."""
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    if not isinstance(value, dict) or "properties" not in schema:
        return
    for key, inner in value.items():
        if key not in schema["properties"]:
            yield f"{path}{key}"
        else:
            yield from unknown_to(schema["properties"][key], root, inner, f"{path}{key}.")


def missing_from(schema, root, value, path):
    """Paths of the schema that values.yaml does not show; the program's own configuration has its own table."""
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    for key, inner in schema.get("properties", {}).items():
        name = f"{path}{key}"
        if name in {"config", "global", "enabled"} | WHOLE:
            continue
        if not isinstance(value, dict) or key not in value:
            yield name
        elif isinstance(value[key], dict):
            yield from missing_from(inner, root, value[key], f"{name}.")


def main(check):
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values, said = yaml.safe_load(text), comments(text)
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    readme = CHART / "README.md"
    before = readme.read_text(encoding="utf-8")
    problems = [f"values.yaml: {name} has no comment" for name, _ in leaves(values) if not said.get(name)]
    problems += [f"values.schema.json does not know {name}" for name in unknown_to(schema, schema, values, "")]
    problems += [f"values.yaml does not show {name}" for name in missing_from(schema, schema, values, "")]
    if not problems:
        after = between(before, "values", values_table(values, said))
        after = between(after, "configuration", config_table(schema))
        if check and after != before:
            problems.append("README.md is stale: run tests/helm/values_table.py")
        elif not check:
            readme.write_text(after, encoding="utf-8")
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    print(f"{len(list(leaves(values)))} values: {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] == ["--check"]))
