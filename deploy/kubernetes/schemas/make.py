"""Makes the schemas beside this file, against which the manifests are checked.

    python make.py KUBERNETES STRIMZI CLOUDNATIVEPG

KUBERNETES: the folder `kubernetes-json-schema/vVERSION-local-strict` of the package
kubernetes-validate; STRIMZI and CLOUDNATIVEPG: folders with the custom resource definitions of a
release. All three are under Apache-2.0. Kept are the kinds that we use, without descriptions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
KUBERNETES = (
    "apps/v1/Deployment",
    "batch/v1/Job",
    "networking.k8s.io/v1/Ingress",
    "networking.k8s.io/v1/NetworkPolicy",
    "policy/v1/PodDisruptionBudget",
    "v1/ConfigMap",
    "v1/Namespace",
    "v1/Secret",
    "v1/Service",
    "v1/ServiceAccount",
)
STRIMZI = ("Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser")
CLOUDNATIVEPG = ("Cluster", "Database", "ScheduledBackup")


def bare(node: Any) -> Any:
    """Without what only people read. (A property may be called `description`: it is no text.)"""
    if isinstance(node, list):
        return [bare(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: bare(value)
        for key, value in node.items()
        if not (key in ("description", "default", "format") and not isinstance(value, dict))
        and not key.startswith("x-kubernetes-")
    }


def strict(node: Any) -> Any:
    """An object with properties has no others; the API server would drop them silently."""
    if isinstance(node, list):
        return [strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: strict(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and "object" in node.get("type", ()):
        made.setdefault("additionalProperties", False)
    return made


def of_kubernetes(folder: Path) -> dict[str, Any]:
    """One document: the kinds, and the definitions that they need."""
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]
    by_kind = {
        "/".join(filter(None, (gvk["group"], gvk["version"], gvk["kind"]))): name
        for name, definition in definitions.items()
        for gvk in definition.get("x-kubernetes-group-version-kind", [])
    }
    wanted: dict[str, Any] = {}
    waiting = [by_kind[kind] for kind in KUBERNETES]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted[name] = strict(bare(definitions[name]))
            waiting += _named(wanted[name])
    kinds = {kind: {"$ref": f"#/$defs/{by_kind[kind]}"} for kind in KUBERNETES}
    return {"kinds": kinds, "$defs": dict(sorted(wanted.items()))}


def _named(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for one in node for name in _named(one)]
    if not isinstance(node, dict):
        return []
    found = [name for value in node.values() for name in _named(value)]
    reference = node.get("$ref")
    return [*found, reference.rpartition("/")[2]] if isinstance(reference, str) else found


def of_resources(folder: Path, wanted: tuple[str, ...]) -> dict[str, Any]:
    """The stored version of each kind, strict."""
    kinds: dict[str, Any] = {}
    for path in sorted(folder.glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())
        spec = definition.get("spec", {})
        kind = spec.get("names", {}).get("kind")
        if kind not in wanted:
            continue
        (version,) = (one for one in spec["versions"] if one["storage"])
        schema = bare(version["schema"]["openAPIV3Schema"])
        schema["properties"] = {
            name: value for name, value in schema["properties"].items() if name != "status"
        } | {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
        made = strict(schema)
        made["properties"]["metadata"] = {"type": "object"}
        kinds[f"{spec['group']}/{version['name']}/{kind}"] = made
    missing = set(wanted) - {name.rpartition("/")[2] for name in kinds}
    if missing:
        raise SystemExit(f"{folder} defines no {', '.join(sorted(missing))}")
    return {"kinds": kinds}


def main(kubernetes: str, strimzi: str, cloudnativepg: str) -> None:
    for name, made in {
        "kubernetes": of_kubernetes(Path(kubernetes)),
        "strimzi": of_resources(Path(strimzi), STRIMZI),
        "cloudnativepg": of_resources(Path(cloudnativepg), CLOUDNATIVEPG),
    }.items():
        text = json.dumps(made, separators=(",", ":"), sort_keys=True)
        (HERE / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
