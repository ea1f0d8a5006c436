"""What every rendering must satisfy, whatever its values: assert_pod.py FILE…

The Pod Security level "restricted", our own promises about pods, and that what one object says of another is so: labels
that selectors look for, files that the configuration names, times that must not overlap.
"""

import hashlib
import re
import sys

import yaml

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    import tomli as tomllib

KINDS = {"ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet"}
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}
SELECTOR = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
CONFIG = "/etc/callward/callward.toml"


class Rendering:
    def __init__(self, path):
        self.path = path
        self.problems = []
        with open(path, encoding="utf-8") as file:
            self.things = [thing for thing in yaml.safe_load_all(file) if thing]

    def check(self, holds, sentence):
        if not holds:
            self.problems.append(f"{self.path}: {sentence}")

    def all(self, kind):
        return [thing for thing in self.things if thing["kind"] == kind]

    def one(self, kind):
        found = self.all(kind)
        self.check(len(found) == 1, f"has {len(found)} objects of kind {kind}")
        return found[0]

    def run(self):
        for thing in self.things:
            self.check(thing["kind"] in KINDS, f"has a {thing['kind']}: no rights and no operators' objects here")
        workload = self.one("StatefulSet")
        pod = workload["spec"]["template"]["spec"]
        config = self.config(workload)
        self.workload(workload)
        self.pod(pod, config)
        for container in pod["containers"] + pod.get("initContainers", []):
            self.container(container, pod)
        self.main_container(pod["containers"][0], config)
        self.selectors(workload)
        self.files(pod, config)
        for account in self.all("ServiceAccount"):
            self.check(account["automountServiceAccountToken"] is False, "its service account mounts a token")
        for budget in self.all("PodDisruptionBudget"):
            spec = budget["spec"]
            self.check(("minAvailable" in spec) != ("maxUnavailable" in spec), "its budget must have one number")
            self.check(spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow", "its budget keeps broken pods")
        for policy in self.all("NetworkPolicy"):
            self.policy(policy, config)
        return self.problems

    def config(self, workload):
        text = self.one("ConfigMap")["data"]["callward.toml"]
        annotation = workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        checksum = hashlib.sha256(text.strip().encode()).hexdigest()
        self.check(annotation == checksum, "its checksum is not that of the configuration")
        config = tomllib.loads(text)
        for section, settings in config.items():
            for key, value in settings.items():
                if re.search("_(seconds|ms|bytes|chars|records|calls)$|^workers$|_turns_", key):
                    self.check(type(value) is int, f"{section}.{key} = {value} is not an integer")
        return config

    def workload(self, workload):
        spec = workload["spec"]
        self.check(spec["podManagementPolicy"] == "Parallel", "its pods start one after another")
        headless = [service for service in self.all("Service") if service["spec"].get("clusterIP") == "None"]
        names = [service["metadata"]["name"] for service in headless]
        self.check(names == [spec["serviceName"]], f"serviceName is {spec['serviceName']}, headless are {names}")
        self.check(len(workload["metadata"]["name"]) <= 52, "its name is too long for the label with its hash")

    def pod(self, pod, config):
        security = pod["securityContext"]
        self.check(security.get("runAsNonRoot") is True, "may run as root")
        self.check(security.get("runAsUser", 1) != 0, "runs as root")
        self.check(security.get("seccompProfile", {}).get("type") == "RuntimeDefault", "has no seccomp profile")
        self.check("seLinuxOptions" not in security and "sysctls" not in security, "asks for more than restricted")
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            self.check(not pod.get(key), f"{key} is on")
        self.check(pod["automountServiceAccountToken"] is False, "mounts a token")
        self.check(pod["enableServiceLinks"] is False, "has CALLWARD_PORT and the like, which look like settings")
        drain = config.get("stream", {}).get("drain_seconds", 10)
        self.check(drain < pod["terminationGracePeriodSeconds"], "is killed before it has drained")
        for volume in pod["volumes"]:
            kinds = set(volume) - {"name"}
            self.check(len(kinds) == 1 and kinds <= VOLUMES, f"its volume {volume['name']} is of kind {kinds}")
        names = [volume["name"] for volume in pod["volumes"]]
        self.check(len(names) == len(set(names)), "two of its volumes have one name")
        self.check(pod.get("affinity"), "has no affinity")

    def container(self, container, pod):
        security = container["securityContext"]
        self.check(security.get("allowPrivilegeEscalation") is False, "allows privilege escalation")
        self.check(security.get("readOnlyRootFilesystem") is True, "may write to its root")
        self.check(security.get("capabilities") == {"drop": ["ALL"]}, "keeps capabilities")
        self.check(not security.get("privileged"), "is privileged")
        self.check(security.get("runAsUser", 1) != 0, "has a container that runs as root")
        resources = container["resources"]
        self.check({"cpu", "memory"} <= set(resources["requests"]), "requests no CPU or no memory")
        self.check("memory" in resources["limits"], "has no memory limit")
        self.check("cpu" not in resources["limits"], "has a CPU limit")
        names = [variable["name"] for variable in container["env"]]
        self.check(len(names) == len(set(names)), "an environment variable stands twice")
        self.check(all(isinstance(name, str) for name in names), f"a variable's name is no text: {names}")
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        self.check(len(mounts) == len(set(mounts)), "two volumes are mounted at one place")
        volumes = {volume["name"] for volume in pod["volumes"]}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        self.check(mounted == volumes, f"mounts {sorted(mounted)} of {sorted(volumes)}")
        self.check(not any("subPath" in mount for mount in container["volumeMounts"]), "a subPath is never refreshed")

    def main_container(self, container, config):
        self.check(container["command"] == ["/usr/local/bin/callward"], "starts something else")
        self.check(container["args"] == ["serve", "--config", CONFIG], "does not serve its configuration")
        self.check("." not in container["image"].split("/")[0].split(":")[0], "names the host of a registry")
        instance = [v for v in container["env"] if v["name"] == "CALLWARD_KAFKA__INSTANCE"]
        by_name = [{"fieldRef": {"fieldPath": "metadata.name"}}]
        self.check([v.get("valueFrom") for v in instance] == by_name, "is not named after its pod")
        port = int(config["http"]["listen"].rsplit(":", 1)[1])
        ports = {entry["name"]: entry["containerPort"] for entry in container["ports"]}
        self.check(ports == {"metrics": port}, f"listens on {port} and declares {ports}")
        for probe, path in [("startup", "/healthz"), ("readiness", "/readyz"), ("liveness", "/healthz")]:
            asked = container[f"{probe}Probe"]["httpGet"]
            self.check(asked == {"path": path, "port": "metrics"}, f"its {probe} probe asks {asked}")
        for service in self.all("Service"):
            found = [(entry["port"], entry["targetPort"]) for entry in service["spec"].get("ports", [])]
            # Of two services with it a monitor would scrape each pod twice.
            wanted = [] if service["spec"].get("clusterIP") == "None" else [(port, "metrics")]
            self.check(found == wanted, f"its service has the ports {found}")

    def selectors(self, workload):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        selectors = [workload["spec"]["selector"]["matchLabels"]]
        selectors += [service["spec"]["selector"] for service in self.all("Service")]
        selectors += [budget["spec"]["selector"]["matchLabels"] for budget in self.all("PodDisruptionBudget")]
        selectors += [policy["spec"]["podSelector"]["matchLabels"] for policy in self.all("NetworkPolicy")]
        spread = workload["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        selectors += [constraint["labelSelector"]["matchLabels"] for constraint in spread]
        for selector in selectors:
            self.check(set(selector) == SELECTOR, f"a selector may change with a version: {selector}")
            self.check(selector.items() <= labels.items(), f"a selector finds no pod: {selector}")

    def files(self, pod, config):
        """Every file that is named has a mounted source, readable by the pod's group and by nobody else."""
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
        etc = mounts["/etc/callward"]
        self.check(etc["readOnly"] is True, "may write to its configuration")
        projected = volumes[etc["name"]]["projected"]
        self.check(projected["defaultMode"] == 0o440, "its secrets are readable by others")
        there = {CONFIG}
        self.check({"configMap": {"name": self.one("ConfigMap")["metadata"]["name"]}} in projected["sources"],
                   "its configuration is not mounted")
        for source in projected["sources"]:
            for content in source.values():
                self.check(content["name"], "a source of its secrets has no name")
                there |= {f"/etc/callward/{item['path']}" for item in content.get("items", [])}
        named = {
            value
            for settings in config.values()
            for key, value in settings.items()
            if key.endswith("_file")
        }
        self.check(named == there - {CONFIG}, f"the configuration names {sorted(named)}, mounted is {sorted(there)}")
        folder = config.get("model", {}).get("folder", "")
        places = [place for place, mount in mounts.items() if mount.get("readOnly")]
        self.check(not folder or any(f"{folder}/".startswith(f"{place}/") for place in places),
                   f"no volume holds the models at {folder}")
        tmp = mounts.get("/tmp", {"name": None, "readOnly": True})
        writable = "emptyDir" in volumes.get(tmp["name"], {}) and not tmp.get("readOnly")
        self.check(writable, "has nowhere to write")

    def policy(self, policy, config):
        spec = policy["spec"]
        port = int(config["http"]["listen"].rsplit(":", 1)[1])
        opened = [entry for rule in spec["ingress"] for entry in rule["ports"]]
        self.check(opened == [{"protocol": "TCP", "port": port}], f"its policy opens {opened}")
        self.check("Ingress" in spec["policyTypes"], "its policy does not guard what comes in")
        self.check(("Egress" in spec["policyTypes"]) == ("egress" in spec), "its policy forbids all that goes out")
        for rule in spec.get("egress", []):
            self.check(rule.get("to"), f"its policy lets everything out: {rule}")


def main(paths):
    problems = [problem for path in paths for problem in Rendering(path).run()]
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    print(f"{len(paths)} renderings: {len(problems)} problems")
    return bool(problems) or not paths


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
