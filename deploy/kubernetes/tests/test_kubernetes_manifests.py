"""The manifests: valid by the schemas, safe, and the same house as on one machine."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from runtime.settings import load
from vicinato.kafka.provision import rights
from vicinato.kafka.topics import Topics
from vicinato.paths import deploy_folder
from vicinato.settings import SERVICES

FOLDER = deploy_folder() / "kubernetes"
SCHEMAS = {
    name: json.loads((FOLDER / "schemas" / f"{name}.json").read_text())
    for name in ("kubernetes", "strimzi", "cloudnativepg")
}
FOLDERS = (
    *("base", "operators", "jobs", "migrate", "provision", "verify"),
    *("restored/mark", "restored/open"),
)


def documents(text: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(text) if one]


def named(one: dict[str, Any]) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def manifests() -> list[dict[str, Any]]:
    """What the kustomizations name; what comes with several folders, once."""
    found = []
    for folder in FOLDERS:
        for name in files_of(folder):
            found += documents((FOLDER / folder / name).read_text())
    return found


def files_of(folder: str) -> list[str]:
    """The files that a kustomization names, without the folders that it takes along."""
    named_there = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text())["resources"]
    return [name for name in named_there if name.endswith(".yaml")]


ALL = manifests()


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in ALL:
        if one["kind"] in ("Deployment", "Job"):
            yield named(one), one["spec"]["template"]


def check(one: dict[str, Any]) -> None:
    kind = f"{one['apiVersion']}/{one['kind']}"
    for schema in SCHEMAS.values():
        if kind in schema["kinds"]:
            whole = {**schema["kinds"][kind], "$defs": schema.get("$defs", {})}
            jsonschema.Draft202012Validator(whole).validate(one)
            return
    raise AssertionError(f"no schema knows {kind}")


def test_every_file_is_named_by_its_kustomization() -> None:
    for folder in FOLDERS:
        there = {path.name for path in (FOLDER / folder).glob("*.yaml")} - {"kustomization.yaml"}
        assert there == set(files_of(folder))


@pytest.mark.parametrize("one", ALL, ids=named)
def test_a_manifest_is_valid(one: dict[str, Any]) -> None:
    check(one)


def test_the_schemas_know_what_is_wrong() -> None:
    """The control: a misspelt field of each of the three is found."""
    for kind, where in (("Deployment", "spec"), ("KafkaTopic", "spec"), ("Cluster", "spec")):
        one = json.loads(json.dumps(next(m for m in ALL if m["kind"] == kind)))
        one[where]["relpicas"] = 2
        with pytest.raises(jsonschema.ValidationError):
            check(one)


def test_the_secrets_that_the_script_prints_are_valid_and_new_each_time() -> None:
    def made() -> list[dict[str, Any]]:
        script = ["sh", str(FOLDER / "secrets.sh")]
        return documents(subprocess.run(script, capture_output=True, check=True, text=True).stdout)

    first, second = made(), made()
    for one in first:
        check(one)
    assert {named(one) for one in first} >= {f"Secret/store-{name}" for name in SERVICES}
    assert first[0]["stringData"]["password"] != second[0]["stringData"]["password"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_renders_it(folder: str) -> None:
    try:
        words = ["kubectl", "kustomize", str(FOLDER / folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        # Not a skip that VICINATO_NO_SKIPS forbids: the files are checked above without it.
        pytest.skip("there is no kubectl")
    assert done.returncode == 0, done.stderr
    for one in documents(done.stdout):
        check(one)
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "vicinato"
        assert ":latest" not in json.dumps(one)


@pytest.mark.parametrize(("name", "pod"), list(pods()), ids=[name for name, _ in pods()])
def test_a_pod_may_do_nothing_that_it_need_not(name: str, pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for box in spec["containers"]:
        assert box["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert re.fullmatch(r"[a-z/.-]+:\d+(\.\d+)+", box["image"])
        assert {"cpu", "memory"} <= set(box["resources"]["requests"])
        assert "memory" in box["resources"]["limits"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "vicinato"


def test_every_deployment_is_probed_and_keeps_one_pod_when_a_node_is_emptied() -> None:
    for one in ALL:
        if one["kind"] != "Deployment":
            continue
        name = one["metadata"]["name"]
        (box,) = one["spec"]["template"]["spec"]["containers"]
        paths = [
            box[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
        ]
        wanted = ["/front-door"] * 3 if name == "front-door" else ["/livez", "/livez", "/readyz"]
        assert paths == wanted
        budget = next(m for m in ALL if named(m) == f"PodDisruptionBudget/{name}")
        assert budget["spec"]["minAvailable"] < one["spec"]["replicas"]
        for other in (budget["spec"]["selector"], one["spec"]["selector"]):
            assert other == {"matchLabels": {"app.kubernetes.io/name": name}}


def settings_of(service: str) -> dict[str, str]:
    """The environment of a service's container."""
    deployment = next(m for m in ALL if named(m) == f"Deployment/{service}")
    (box,) = deployment["spec"]["template"]["spec"]["containers"]
    found: dict[str, str] = {}
    for source in box["envFrom"]:
        name = source["configMapRef"]["name"]
        found |= next(m for m in ALL if named(m) == f"ConfigMap/{name}")["data"]
    return found | {one["name"]: one["value"] for one in box["env"]}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_takes_its_settings_and_finds_its_secrets(service: str, tmp_path: Path) -> None:
    deployment = next(m for m in ALL if named(m) == f"Deployment/{service}")
    spec = deployment["spec"]["template"]["spec"]
    mount = "/run/secrets/vicinato"
    (secrets,) = (volume for volume in spec["volumes"] if volume["name"] == "secrets")
    environ = settings_of(service)
    for source in secrets["projected"]["sources"]:
        for item in source["secret"]["items"]:
            (tmp_path / item["path"]).write_text("secret")
    environ = {name: value.replace(mount, str(tmp_path)) for name, value in environ.items()}
    from messaging.catalogue import services

    (model,) = (one.settings for one in services() if one.name == service)
    made = load(service, environ, model=model)
    assert made.kafka_user == service
    assert f"vicinato_{service}:secret@" in made.database_url
    assert made.kafka_secret_file is not None


def test_the_services_are_alike() -> None:
    """But for their names, what only one of them is told, and what only one of them reads."""
    texts = set()
    for name in SERVICES:
        text = (FOLDER / "base" / f"{name}.yaml").read_text().replace(f" {name}", " NAME")
        text = text.replace(f"_{name}", "_NAME").replace(f"-{name}", "-NAME")
        text = re.sub(r", \{ configMapRef: \{ name: mail \} \}", "", text)
        texts.add(re.sub(r".*(first-admin|sealing-key|smtp|SMTP).*\n", "", text))
    assert len(texts) == 1


def test_topics_and_users_of_strimzi_are_those_of_topics_toml() -> None:
    spec = importlib.util.spec_from_file_location("topics_of_strimzi", FOLDER / "topics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FILE.read_text() == module.text(Topics.read()), "run `make docs`"


def test_strimzi_gives_exactly_the_rights_that_provisioning_gives() -> None:
    given = {
        (
            "User:" + one["metadata"]["name"],
            right["resource"]["type"],
            right["resource"]["name"],
            {"literal": "LITERAL", "prefix": "PREFIXED"}[right["resource"]["patternType"]],
            operation.upper(),
        )
        for one in ALL
        if one["kind"] == "KafkaUser"
        for right in one["spec"].get("authorization", {}).get("acls", [])
        for operation in right["operations"]
    }
    wanted = {
        (
            right.principal,
            right.restype.name.lower(),
            right.name,
            right.resource_pattern_type.name,
            right.operation.name,
        )
        for right in rights(Topics.read())
    }
    assert given == wanted
    for topic in Topics.read():
        made = next(one for one in ALL if named(one) == f"KafkaTopic/{topic.name}")
        assert made["spec"]["partitions"] == topic.partitions
        assert made["spec"]["config"] == dict(topic.config)


def test_every_service_has_a_database_and_a_role_of_its_own() -> None:
    (cluster,) = (one for one in ALL if one["kind"] == "Cluster")
    roles = {role["name"] for role in cluster["spec"]["managed"]["roles"]}
    owners = {
        (one["spec"]["name"], one["spec"]["owner"]) for one in ALL if one["kind"] == "Database"
    }
    assert roles == {f"vicinato_{name}" for name in SERVICES}
    assert owners == {(role, role) for role in roles}


def example(page: str) -> list[dict[str, Any]]:
    """The manifests of a page's examples, those of a list as well."""
    blocks = re.findall(r"^( *)```yaml\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    return [one for _, block in blocks for one in documents(textwrap.dedent(block))]


def merged(node: Any, more: Any) -> Any:
    """As kustomize puts a patch into a resource that it has no rules for."""
    if isinstance(node, dict) and isinstance(more, dict):
        return {key: merged(node.get(key), more.get(key, node.get(key))) for key in {*node, *more}}
    return more


def test_the_examples_of_backup_and_restore_are_valid() -> None:
    page = deploy_folder().parent / "docs" / "runbooks" / "containers.md"
    (cluster,) = (one for one in ALL if one["kind"] == "Cluster")
    found = example(page.read_text(encoding="utf-8"))
    assert [one["kind"] for one in found] == ["Cluster", "ScheduledBackup", "Cluster"]
    for one in found:
        check(merged(cluster, one) if one["kind"] == "Cluster" else one)
    backup, scheduled, restore = found
    for one in (backup, restore):
        assert one["metadata"]["name"] == cluster["metadata"]["name"]
    assert scheduled["spec"]["cluster"]["name"] == cluster["metadata"]["name"]
    source = restore["spec"]["bootstrap"]["recovery"]["source"]
    (before,) = restore["spec"]["externalClusters"]
    (archive,) = restore["spec"]["plugins"]
    assert before["name"] == source
    assert before["plugin"]["parameters"]["serverName"] == cluster["metadata"]["name"]
    assert archive["parameters"]["serverName"] != before["plugin"]["parameters"]["serverName"]
