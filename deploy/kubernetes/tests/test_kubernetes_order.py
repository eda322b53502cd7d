"""A first installation in the order of the README: what a folder asks for is there when it is
applied, and kubectl takes each command as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vicinato.paths import deploy_folder
from vicinato.settings import SERVICES

FOLDER = deploy_folder() / "kubernetes"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
RUNBOOKS = deploy_folder().parent / "docs" / "runbooks"
CONTAINERS = (RUNBOOKS / "containers.md").read_text(encoding="utf-8")

Name = tuple[str, str]
"""Kind and name of an object."""


def commands(text: str) -> Iterator[list[str]]:
    """The words of each kubectl command of a page, in its blocks and in its sentences."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)  # also those of a list
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    without = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for line in [*lines, *re.findall(r"`([^`\n]+)`", without)]:
        for one in line.split(" | "):
            words = shlex.split(one, comments=True)
            if words[:1] == ["kubectl"] and len(words) > 1:
                yield words


def applied(text: str) -> list[str]:
    """What a page applies, in its order: folders, files, and - for what a script prints."""
    found = []
    for words in commands(text):
        if words[1:3] == ["create", "configmap"]:
            found.append(f"configmap {words[3]}")
        elif words[1] in ("apply", "create"):
            found.append(words[words.index("-k" if "-k" in words else "-f") + 1])
    return found


ORDER = applied(README.partition("## Upgrade")[0])


def objects(what: str) -> list[dict[str, Any]]:
    """The objects that applying it makes."""
    path = FOLDER / what
    if what == "-":
        script = ["sh", str(FOLDER / "secrets.sh")]
        said = subprocess.run(script, capture_output=True, check=True, text=True).stdout
        return [one for one in yaml.safe_load_all(said) if one]
    if path.is_file():
        return [one for one in yaml.safe_load_all(path.read_text()) if one]
    told = yaml.safe_load((path / "kustomization.yaml").read_text())
    named = [(path / name).resolve().relative_to(FOLDER.resolve()) for name in told["resources"]]
    made = [one for name in named for one in objects(str(name))]
    for patch in told.get("patches", []):
        for one in made:
            if (one["kind"], one["metadata"]["name"]) == tuple(patch["target"].values()):
                changed(one, yaml.safe_load(patch["patch"]))
    return made


def changed(one: Any, patch: list[dict[str, Any]]) -> None:
    """By a JSON patch, as kustomize does it."""
    for step in patch:
        *way, last = (word.replace("~1", "/") for word in step["path"].split("/")[1:])
        node = one
        for word in way:
            node = node[int(word) if isinstance(node, list) else word]
        if last == "-":
            node.append(step["value"])
        else:
            node[last] = step["value"]


def brought(what: str) -> list[dict[str, Any]]:
    """What a step brings: the objects of a file or folder, or the one that is made by its name."""
    kind, _, name = what.partition(" ")
    return (
        [{"kind": "ConfigMap", "metadata": {"name": name}}]
        if kind == "configmap"
        else objects(what)
    )


def given(made: list[dict[str, Any]]) -> set[Name]:
    """What pods may be told from: of a user of Kafka, Strimzi makes the secret."""
    found = {(one["kind"], one["metadata"]["name"]) for one in made}
    prefix = next(
        (
            one["spec"]["entityOperator"]["userOperator"]["secretPrefix"]
            for one in made
            if one["kind"] == "Kafka"
        ),
        "",
    )
    return found | {("Secret", prefix + name) for kind, name in found if kind == "KafkaUser"}


def asked(node: Any) -> Iterator[Name]:
    """What the pods of an object are told from."""
    if isinstance(node, list):
        for one in node:
            yield from asked(one)
        return
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in ("configMapRef", "configMapKeyRef", "configMap"):
            yield "ConfigMap", value["name"]
        elif key in ("secretRef", "secretKeyRef"):
            yield "Secret", value["name"]
        elif key == "secret":
            yield "Secret", value.get("name") or value["secretName"]
        else:
            yield from asked(value)


def missing(order: list[str], there: set[Name]) -> dict[str, set[Name]]:
    """What each step asks for and neither it nor one before it brings."""
    found = {}
    for what in order:
        made = brought(what)
        there = there | given(made)
        wanted = {
            name
            for one in made
            if one["kind"] in ("Deployment", "Job")
            for name in asked(one["spec"]["template"]["spec"])
        }
        if wanted - there:
            found[what] = wanted - there
    return found


def test_the_readme_tells_a_whole_installation() -> None:
    """The control of what is read out of it."""
    assert ORDER == ["base/namespace.yaml", "-", "operators", "migrate", "base", "provision"]
    wanted = set(asked(objects("migrate")))
    assert ("ConfigMap", "jobs") in wanted
    assert ("Secret", "store-cards") in wanted


def test_each_step_finds_what_its_pods_are_told_from() -> None:
    assert missing([one for one in ORDER if one != "provision"], set()) == {}


def test_so_it_does_without_operators() -> None:
    """With secrets that people make, as the README says."""
    by_hand = {("Secret", name) for name in ("kafka-admin", "store-admin")}
    by_hand |= {("Secret", f"kafka-user-{name}") for name in SERVICES}
    for name in ("kafka-admin", "store-admin", "kafka-user-NAME"):
        assert f"`{name}`" in README
    order = [one for one in ORDER if one not in ("operators", "provision")]
    order.insert(order.index("migrate"), "provision")
    assert missing(order, by_hand) == {}


def test_what_comes_too_late_is_found() -> None:
    """The control: a step that asks for what only a later one brings."""
    late = [one for one in ORDER if one not in ("operators", "provision", "-")]
    assert ("Secret", "store-cards") in missing([*late, "-", "operators"], set())["migrate"]


RESTORE = CONTAINERS.partition("## On Kubernetes")[2]
AGAIN = CONTAINERS.partition("## When it says no")[2]


def test_a_restore_finds_what_its_jobs_are_told_from() -> None:
    order = applied(RESTORE)
    assert order == ["operators", "configmap restored", "restored/mark", "base", "restored/open"]
    before = {name for what in ORDER for name in given(brought(what))}
    assert missing(order, before) == {}
    assert ("ConfigMap", "restored") in missing(["restored/mark"], before)["restored/mark"]


def test_verify_finds_what_it_is_told_from() -> None:
    before = {name for what in ORDER for name in given(brought(what))}
    assert missing(["verify"], before) == {}


@pytest.mark.parametrize("text", [README, RESTORE], ids=["README.md", "containers.md"])
def test_what_is_awaited_was_applied(text: str) -> None:
    """By name, or all of a kind."""
    steps = dict.fromkeys([*ORDER, *applied(text)])
    there = [one for what in steps for one in brought(what)]
    known = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in there}
    kinds = {one["kind"].lower() for one in there}
    for words in commands(text):
        if words[1] == "wait":
            for one in resources(words):
                assert one in (known if "/" in one else kinds), words


@pytest.mark.parametrize("text", [README, RESTORE], ids=["README.md", "containers.md"])
def test_a_job_that_fails_at_once_is_followed_and_not_awaited(text: str) -> None:
    """Its completion would be awaited until the time is over."""
    jobs = [one for what in [*ORDER, *applied(text)] for one in brought(what)]
    once = {
        f"job/{one['metadata']['name']}"
        for one in jobs
        if one["kind"] == "Job" and one["spec"]["backoffLimit"] == 0
    }
    typed = list(commands(text))
    assert not [w for w in typed if w[1] == "wait" and once & set(resources(w))]
    followed = {one for w in typed if w[1] == "logs" and "--follow" in w for one in resources(w)}
    assert once <= followed


def test_a_job_that_is_to_run_again_is_deleted_first() -> None:
    """Applied as it is there already, it stays as it ended."""
    again = [one for words in commands(AGAIN) if words[1] == "delete" for one in resources(words)]
    jobs = [one for what in applied(RESTORE) for one in brought(what) if one["kind"] == "Job"]
    assert {one["metadata"]["name"] for one in jobs} <= set(again)


MOVING = (RUNBOOKS / "another-cluster.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [README, MOVING], ids=["README.md", "another-cluster.md"])
def test_who_has_another_kafka_is_told_of_all_that_leads_to_it(text: str) -> None:
    files = {
        str(file.relative_to(FOLDER))
        for file in FOLDER.rglob("*.yaml")
        if re.search(r"KAFKA\b.*:9092", file.read_text(encoding="utf-8"))
    }
    assert files == {"base/settings.yaml", "provision/job.yaml", "verify/job.yaml"}
    pods = [pod for what in ("base", "provision", "verify") for pod in objects(what)]
    secrets = {name for kind, name in asked(pods) if kind == "Secret" and "kafka" in name}
    of_services = {f"kafka-user-{name}" for name in SERVICES}
    assert secrets > of_services
    for name in files | (secrets - of_services):
        assert f"`{name}`" in text
    assert "`kafka-user-NAME` for each service" in text


def resources(words: list[str]) -> list[str]:
    """The arguments of a kubectl command that name resources."""
    found, after_namespace = [], False
    for word in words[2:]:
        if not word.startswith("-") and not after_namespace:
            found.append(word)
        after_namespace = word == "-n"
    return found


PAGES = [FOLDER / "README.md", *sorted(RUNBOOKS.glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_names_resources_in_one_form(page: Path) -> None:
    """`kind/name` for each, or one kind and then names; all of one kind have no names."""
    for words in commands(page.read_text(encoding="utf-8")):
        if words[1] in ("apply", "create", "port-forward"):
            continue
        named = resources(words)
        if words[1] in ("rollout", "set"):
            named = [one for one in named[1:] if "=" not in one]
        slashed = ["/" in one for one in named]
        assert all(slashed) or not any(slashed), words
        if "--all" in words:
            assert len(named) == 1, words
            assert not any(slashed), words


ASKING = [
    words
    for page in PAGES
    for words in commands(page.read_text(encoding="utf-8"))
    if words[1] in ("wait", "scale", "delete") and len(words) > 3
]


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_kubectl_takes_the_command(words: list[str], tmp_path: Path) -> None:
    """It comes as far as to ask a server, which is not there. What is wrong in itself it refuses
    before."""
    nowhere = tmp_path / "config"
    nowhere.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: none\n"
        "clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: none, context: {cluster: none, user: none}}]\n"
        "users: [{name: none, user: {}}]\n"
    )
    try:
        done = subprocess.run(
            [words[0], f"--kubeconfig={nowhere}", *words[1:]],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        # Not a skip that VICINATO_NO_SKIPS forbids: the forms are checked above without it.
        pytest.skip("there is no kubectl")
    assert "The connection to the server 127.0.0.1:1 was refused" in done.stderr
