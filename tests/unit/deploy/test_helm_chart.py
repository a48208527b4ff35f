"""The Helm chart: its objects for three sets of values, their security, and the values that it refuses.

Helm and the schemas of Kubernetes run in an environment of their own. No cluster is used.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from synckairos import __version__
from synckairos.cli import main
from synckairos.config import Settings, env_variables_of
from synckairos.config.loading import load as load_settings
from synckairos.telemetry.metrics import WEBSOCKET_CONNECTIONS
from tests.deployment_environment import PYTHON
from tests.unit.docs.pages import DOCUMENTS, code_blocks

ROOT = DOCUMENTS.parent
CHART = ROOT / "deploy" / "helm" / "synckairos"
PROGRAM = Path(__file__).with_name("render_chart.py")
HAS_HELM = platform.machine() == "x86_64" or sys.platform == "darwin"

pytestmark = pytest.mark.skipif(not HAS_HELM, reason="the package with Helm has no wheel for this platform")

Object = dict[str, Any]
EXAMPLES = ("small", "managed", "large")
DATABASE_URL = "postgresql://synckairos:secret@db.example.org/synckairos"
SECRETS: dict[str, dict[str, str]] = {
    "small": {},
    "managed": {"REDIS_URL": "rediss://redis.example.org", "DATABASE_URL": DATABASE_URL},
    "large": {
        "REDIS_URL": "rediss+cluster://node1.example.org:6379,node2.example.org:6379",
        "QUEUE_REDIS_URL": "rediss://queue.example.org",
        "DATABASE_URL": DATABASE_URL,
    },
}
"""The variables for the stores in the Secret of each set of values."""
S3 = {"url": "s3://bucket/prefix"}
REFUSED: dict[str, tuple[Object, str]] = {
    "two servers on the Valkey of the chart": (
        {"server": {"replicas": 2}, "archive": S3, "valkey": {"enabled": True}},
        "needs a Redis outside of this chart",
    ),
    "scaling on the Valkey of the chart": (
        {"autoscaling": {"enabled": True}, "archive": S3, "valkey": {"enabled": True}},
        "needs a Redis outside of this chart",
    ),
    "two servers with an archive on a volume": ({"server": {"replicas": 2}}, "needs an archive that all pods can use"),
    "two workers with an archive on a volume": ({"worker": {"replicas": 2}}, "needs an archive that all pods can use"),
    "no authentication": ({"config": {"SYNCKAIROS_AUTH": "none"}}, "Without authentication"),
    "the metrics token over plain HTTP": ({"serviceMonitor": {"enabled": True}}, "over plain HTTP"),
    "fewer servers at most than at least": (
        {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 4}, "archive": S3},
        "less than autoscaling.minReplicas",
    ),
    "an unknown value": ({"server": {"replica": 2}}, "replica"),
    "a text instead of a number": ({"worker": {"replicas": "two"}}, "replicas"),
    "a secret in the values": ({"config": {"JWT_SECRET": "x"}}, "JWT_SECRET"),
    "an empty name of the Secret": ({"existingSecret": ""}, "existingSecret"),
}


def read_yaml(path: Path) -> Object:
    """Return a YAML file, read by the Python of the chart's environment, because this one has no YAML."""
    program = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    return run_python(["-c", program], path.read_text())


def run_python(arguments: list[str], text: str) -> Object:
    assert PYTHON.exists(), (
        "run `make build/deployment/.installed`, as `make test` does: it installs Helm for the tests"
    )
    done = subprocess.run([PYTHON, *arguments], input=text, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: Object = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def result() -> Object:
    """Render all values of this module at once, because the start of Helm takes longest."""
    values = {name: read_yaml(CHART / "examples" / f"{name}.yaml") for name in EXAMPLES}
    values |= {name: each for name, (each, _) in REFUSED.items()}
    return run_python([str(PROGRAM), str(CHART)], json.dumps(values))


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest, result: Object) -> Object:
    """Give the rendered objects of one set of values."""
    found: Object = result["rendered"][request.param]
    assert found["error"] == ""
    return found


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def pod_specs(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Yield the specification of each kind of pod, with the name of the object that makes it."""
    for each in of_kind(objects, "Deployment", "StatefulSet", "Job"):
        yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def test_lint_finds_no_warning_and_no_error(result: Object) -> None:
    assert result["lint"] == []


def test_objects_match_the_schemas_of_kubernetes(example: Object) -> None:
    assert example["invalid"] == []
    # The schemas of these two kinds are those of other projects, and no package has them.
    assert set(example["without_schema"]) <= {"ServiceMonitor", "HTTPRoute"}


def test_each_set_of_values_has_its_objects(result: Object) -> None:
    always = {"ServiceAccount", "Deployment", "Service", "Job"}
    kinds = {name: {each["kind"] for each in result["rendered"][name]["objects"]} for name in EXAMPLES}
    assert kinds == {
        "small": always | {"StatefulSet", "PersistentVolumeClaim", "Ingress"},
        "managed": always | {"PodDisruptionBudget", "Ingress", "ServiceMonitor", "NetworkPolicy"},
        "large": always
        | {"PodDisruptionBudget", "HorizontalPodAutoscaler", "HTTPRoute", "ServiceMonitor", "NetworkPolicy"},
    }


def test_pods_run_without_root_and_without_privileges(example: Object) -> None:
    for name, spec in pod_specs(example["objects"]):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        # Otherwise Kubernetes sets SYNCKAIROS_PORT to the URL of a Service of that name.
        assert spec["enableServiceLinks"] is False, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name


def test_containers_run_commands_and_settings_that_exist(example: Object) -> None:
    known = {name for each in Settings.model_fields for name in env_variables_of(each)} | {"PGPASSWORD"}
    image = f"synckairos:{__version__}"
    commands = set()
    for name, spec in pod_specs(example["objects"]):
        (container,) = spec["containers"]
        if container["image"] != image:
            assert name.endswith(("-valkey", "-postgres"))
            continue
        command, *arguments = container["args"]
        commands.add(command)
        # The parser refuses unknown options and values. The context is not invoked.
        main.commands[command].make_context(command, [*arguments])
        assert {each["name"] for each in container["env"]} <= known, name
        assert container["envFrom"] == [{"secretRef": {"name": "synckairos"}}]
    assert commands == {"serve", "worker", "migrate"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_processes_start_with_the_settings_of_the_pods_and_of_the_secret(
    result: Object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {"JWT_SECRET": "x" * 64, "SYNCKAIROS_METRICS_TOKEN": "y" * 48, **SECRETS[name]}
    for pod, spec in pod_specs(result["rendered"][name]["objects"]):
        (container,) = spec["containers"]
        if pod.endswith(("-valkey", "-postgres")):
            continue
        given = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        with monkeypatch.context() as patch:
            for variable, text in (given | secret).items():
                patch.setenv(variable, text)
            settings = load_settings()
            assert settings.partitions == (64 if name == "large" else 1), pod
            assert settings.redis_url.startswith("rediss+cluster://") == (name == "large"), pod


def test_an_unknown_option_would_be_refused() -> None:
    with pytest.raises(click.UsageError):
        main.commands["serve"].make_context("serve", ["--hots", "0.0.0.0"])


def test_probes_and_the_end_of_a_server_fit_its_drain(example: Object) -> None:
    (server,) = [each for name, each in pod_specs(example["objects"]) if name == "clock-synckairos"]
    (container,) = server["containers"]
    probes = {each: container[f"{each}Probe"]["httpGet"]["path"] for each in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}
    drain_s = next(int(each["value"]) for each in container["env"] if each["name"] == "SYNCKAIROS_DRAIN_TIMEOUT_S")
    (_, before_s) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert server["terminationGracePeriodSeconds"] >= int(before_s) + drain_s + 10


def test_selectors_match_the_pods_and_services_lead_to_their_ports(example: Object) -> None:
    objects = example["objects"]
    pods = of_kind(objects, "Deployment", "StatefulSet")
    for each in pods:
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for service in of_kind(objects, "Service"):
        (found,) = [
            each
            for each in pods
            if service["spec"]["selector"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        (container,) = found["spec"]["template"]["spec"]["containers"]
        names = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_schema_is_updated_before_new_pods_and_again_after_them(result: Object) -> None:
    hooks = {
        name: {
            each["metadata"]["name"]: each["metadata"]["annotations"]["helm.sh/hook"]
            for each in of_kind(result["rendered"][name]["objects"], "Job")
        }
        for name in ("small", "managed")
    }
    second = {"clock-synckairos-migrate-complete": "post-upgrade"}
    assert hooks["managed"] == {"clock-synckairos-migrate": "pre-install,pre-upgrade"} | second
    # The Postgres of the chart does not exist before the installation.
    assert hooks["small"] == {"clock-synckairos-migrate": "post-install,pre-upgrade"} | second


def test_servers_scale_by_a_metric_that_exists_and_end_slowly(result: Object) -> None:
    (scaler,) = of_kind(result["rendered"]["large"]["objects"], "HorizontalPodAutoscaler")
    (metric,) = scaler["spec"]["metrics"]
    (family,) = WEBSOCKET_CONNECTIONS.collect()
    assert metric["pods"]["metric"]["name"] == family.name
    down = scaler["spec"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 600
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]
    (server, _) = of_kind(result["rendered"]["large"]["objects"], "Deployment")
    assert "replicas" not in server["spec"]


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_cannot_work_are_refused(name: str, result: Object) -> None:
    assert REFUSED[name][1] in result["rendered"][name]["error"]


def test_page_names_each_set_of_values_and_each_file_exists() -> None:
    page = (DOCUMENTS / "operate" / "kubernetes.md").read_text()
    commands = "\n".join(code_blocks(page, "sh"))
    for name in EXAMPLES:
        assert f"examples/{name}.yaml" in page
    for word in commands.split():
        if word.startswith("deploy/"):
            assert (ROOT / word).exists(), word
