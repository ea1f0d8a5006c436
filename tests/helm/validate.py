"""Validates rendered objects strictly: validate.py KUBERNETES FILE…

The library's own command only warns of a kind that it does not know; here that is a failure.
"""

import functools
import sys

import kubernetes_validate
import yaml
from kubernetes_validate import utils

# Each call would read the same definitions again.
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)


def problem(thing, version):
    try:
        kubernetes_validate.validate(thing, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except (utils.SchemaNotFoundError, utils.VersionNotSupportedError, utils.InvalidSchemaError) as error:
        return error.message
    return None


def main(version, paths):
    if version.rsplit(".", 1)[0] not in map(utils.major_minor, utils.all_versions()):
        sys.exit(f"there is no schema of Kubernetes {version}")
    count, problems = 0, []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            things = [thing for thing in yaml.safe_load_all(file) if thing]
        if not things:
            problems.append(f"{path}: holds no object")
        for thing in things:
            count += 1
            if found := problem(thing, version):
                problems.append(f"{path}: {thing.get('kind')}: {found}")
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    print(f"{count} objects in {len(paths)} files against Kubernetes {version}: {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
