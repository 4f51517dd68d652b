"""`make demo`: the main job on real parts, shown by live kubectl output.

It ends with a recording that a server pushes and that becomes a video. A simulated farm stands in for the BBB servers;
everything else is what a user runs: a Kubernetes control plane, the chart with operator, front end and PostgreSQL, the
queues and their pods. A state that does not come ends it with 1.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev.controlplane.plane import KubectlError
from dev.environment import REPOSITORY, Environment, Installation
from dev.farm.process import Farm
from dev.helm import HelmError
from dev.processes import ProcessError, last_lines
from dev.recording_scenario import FrontEnd, PushingServer, fetch, first_frame, recording_values
from dev.recordings.options import Generation, Options
from dev.scenario import SEAM_SECONDS, TICK_SECONDS, NotSeenError, Scenario, example_objects
from dev.toolchain import ToolchainError, kubectl_path

NAMESPACE = "b3lb"
NODES = 2
SECRET = "uni-001"  # of examples/minimal.yaml
LOG_LINES = 30
RENDER_SECONDS = 90.0
LECTURE = Options(generation=Generation.V3_0, seconds=60, external_meeting="UNI-001-lecture")
FIRST_FRAME = REPOSITORY / ".demo" / "first-frame.png"


class Demo:
    """The steps of the demo, each printing what a user would type and what answers."""

    def __init__(self, installation: Installation, farm: Farm, server: PushingServer) -> None:
        """Prepare; nothing is applied yet. The server pushes the lecture's recording."""
        self.installation = installation
        self.farm = farm
        self.server = server
        self.scenario = Scenario(installation, farm)
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a headline with the seconds since the beginning."""
        print(f"\n\033[1m[{time.monotonic() - self.began:5.1f} s] {text}\033[0m", flush=True)

    def kubectl(self, *arguments: str, show: str | None = None) -> str:
        """Show and run a kubectl command."""
        print(f"$ kubectl {show or ' '.join(arguments)}", flush=True)
        output = self.installation.kubectl(*arguments)
        print(output.rstrip(), flush=True)
        return output

    def expect(self, what: str, check: Callable[[], bool], *, within: float) -> None:
        """Wait for a state and say how long it took.

        Raises:
            NotSeenError: It did not come within so many seconds.
        """
        seconds = self.scenario.expect(what, check, within=within)
        print(f"  ✓ {what} ({seconds:.1f} s)", flush=True)

    def expect_condition(self, what: str, node: str, kind: str, value: str, *, within: float) -> None:
        """Wait until a node's condition is `Status/Reason` and say how long it took.

        Raises:
            NotSeenError: It did not come within so many seconds.
        """
        seconds = self.scenario.expect_condition(node, kind, value, within=within)
        print(f"  ✓ {what} ({seconds:.1f} s)", flush=True)

    def run(self, wait_published: Callable[[], object]) -> None:
        """Run all steps; the recording is there when ``wait_published`` returns."""
        self.install()
        self.apply()
        self.ticks()
        self.lists()
        self.failure_and_recovery()
        self.cordon_and_drain()
        wait_published()
        self.recording()
        self.say("that was it: nodes declared with kubectl and polled by a CronJob, a recording pushed and rendered")

    def install(self) -> None:
        """Install the chart and wait until its operator is ready."""
        self.say(f"install b3lb with Helm, ticks every {TICK_SECONDS} s")
        values = f"image.tag=dev,queues.core.spec.tickSeconds={TICK_SECONDS},storage.type=directory,api.enabled=true"
        print(f"$ helm install b3lb charts/b3lb --namespace {NAMESPACE} --set {values}", flush=True)
        if not self.installation.environment.isolated:
            print(
                "  pods cannot be isolated without root here: the operator runs beside the cluster, under the release's"
                "\n  service account, and PostgreSQL is one outside of the release",
                flush=True,
            )
        self.installation.install()
        self.expect("the operator is ready", lambda: self.installation.answers("/readyz"), within=60)
        self.kubectl("get", "deployments,statefulsets,pods")

    def apply(self) -> None:
        """Declare servers and a tenant, and see the first true status."""
        self.say(f"apply examples/minimal.yaml, its server replaced by {NODES} of the simulated farm")
        print("$ kubectl apply -f examples/minimal.yaml", flush=True)
        objects = {"apiVersion": "v1", "kind": "List", "items": example_objects(self.farm.nodes[:NODES])}
        print(self.installation.kubectl("apply", "-f", "-", input=json.dumps(objects)).rstrip(), flush=True)
        self.kubectl("get", "b3lb")
        for node in self.nodes():
            self.expect_condition(f"{node} is Ready", node, "Ready", "True/Responding", within=7)
        self.kubectl("get", "bbbnodes")

    def nodes(self) -> list[str]:
        """Return the names of the nodes that are declared."""
        return self.installation.kubectl("get", "bbbnodes", "-o", "jsonpath={.items[*].metadata.name}").split()

    def ticks(self) -> None:
        """Start the queue's Job at once and see its ticks change the numbers."""
        self.say("poll now instead of at the next full minute: a Job made from the CronJob")
        self.kubectl("create", "job", "now", "--from=cronjob/b3lb-core")
        self.expect(
            "the pod runs",
            lambda: "Running" in self.installation.kubectl("get", "pods") or self.job_complete("now"),
            within=15,
        )
        before = self.numbers()
        self.expect("people came and went, and the status says so", lambda: self.numbers() != before, within=60)
        self.kubectl("get", "cronjobs,jobs,pods")
        self.kubectl("get", "bbbnodes")

    def lists(self) -> None:
        """Show what the tenant's API secret sees: its own meetings only."""
        self.say(f"the meetings that a client with the API secret {SECRET} sees")
        self.scenario.expect_condition(SECRET, "Accepted", "True/Accepted", of="bbbsecret", within=5)
        self.kubectl("get", "bbbtenants,bbbsecrets")
        self.expect("they are listed", lambda: bool(self.scenario.meetings(SECRET)), within=TICK_SECONDS + SEAM_SECONDS)
        print(f"$ b3lb meetings --secret {SECRET}", flush=True)
        print(self.installation.b3lb("meetings", "--secret", SECRET).rstrip(), flush=True)

    def recording(self) -> None:
        """Push a recording, watch it being rendered, and look at the video's first frame."""
        front_end, record_id = FrontEnd(self.installation), LECTURE.meeting
        self.expect("the front end is ready", front_end.is_ready, within=30)
        self.say(f"a BigBlueButton server pushes the recording of a lecture of {LECTURE.seconds:g} s")
        print("$ examples/bbb-node/b3lb-push", flush=True)
        print(self.server.push().stderr.rstrip(), flush=True)
        self.expect("it is there", lambda: self.scenario.exists("bbbrecording", record_id), within=15)
        began, seen = time.monotonic(), ""
        while (phase := self.progress(record_id)) not in {"Rendered", "Failed", "Cancelled"}:
            if time.monotonic() - began > RENDER_SECONDS:
                raise NotSeenError(f"the recording is still {phase} after {RENDER_SECONDS:g} s")
            listed = self.installation.kubectl("get", "bbbrecordings", "--no-headers")
            shown = " ".join(listed.split()[1:-1])
            if shown != seen:
                self.kubectl("get", "bbbrecordings")
            seen = shown
            time.sleep(1)
        self.kubectl("get", "bbbrecordings")
        if phase != "Rendered":
            raise NotSeenError(f"the recording is {phase}: {front_end.show(record_id).get('message')}")
        self.kubectl("get", "jobs", "-l", "b3lb.io/queue=record")
        self.say("a player gets the video")
        (link,) = front_end.links(record_id)
        video = self.installation.environment.directory / "video.mp4"
        video.write_bytes(fetch(link)[2])
        first_frame(video, FIRST_FRAME)
        print(f"$ curl -o video.mp4 {link}\n$ ffmpeg -i video.mp4 -frames:v 1 {FIRST_FRAME.relative_to(REPOSITORY)}")
        print(f"  ✓ {video.stat().st_size} bytes of video; its first frame is {FIRST_FRAME}", flush=True)

    def progress(self, record_id: str) -> str:
        """Return the phase of a BBBRecording, empty while it has none."""
        found = self.scenario.find("bbbrecording", record_id) or {}
        return str(found.get("status", {}).get("phase", ""))

    def numbers(self) -> str:
        """Return the meetings and attendees of all nodes, as their statuses have them."""
        path = "jsonpath={range .items[*]}{.status.meetings}/{.status.attendees} {end}"
        return self.installation.kubectl("get", "bbbnodes", "-o", path)

    def job_complete(self, name: str) -> bool:
        """Whether a Job has succeeded."""
        return self.installation.kubectl("get", "job", name, "-o", "jsonpath={.status.succeeded}") == "1"

    def failure_and_recovery(self) -> None:
        """Close a node's port, see the exact reason, open it again."""
        node = self.nodes()[0]
        simulated = self.farm.nodes[0].name
        self.say(f"{node} refuses connections from now on")
        self.farm.control.set_behaviour(simulated, "refused")
        self.expect_condition(
            f"{node} takes no new rooms after the first failed poll",
            node,
            "Schedulable",
            "False/",
            within=TICK_SECONDS + SEAM_SECONDS,
        )
        self.kubectl("get", "bbbnodes")
        self.expect_condition(
            f"{node} is not Ready, with the exact reason",
            node,
            "Ready",
            "False/Refused",
            within=3 * TICK_SECONDS + SEAM_SECONDS,
        )
        self.kubectl("get", "bbbnodes")
        self.kubectl("get", "events", "--field-selector", "involvedObject.kind=BBBNode")
        self.say(f"{node} answers again")
        self.farm.control.set_behaviour(simulated, "ok")
        self.expect_condition(
            f"{node} is Ready again", node, "Ready", "True/Responding", within=4 * TICK_SECONDS + SEAM_SECONDS
        )
        self.kubectl("get", "bbbnodes")

    def cordon_and_drain(self) -> None:
        """Cordon a node, drain another one until its last meeting ended, and delete it."""
        first, second = self.nodes()[:2]
        self.say(f"cordon {first}: no new rooms, running ones stay")
        patch = '{"spec":{"state":"Cordoned"}}'
        self.kubectl("patch", "bbbnode", first, "--type=merge", "-p", patch)
        self.expect_condition(f"{first} is cordoned", first, "Schedulable", "False/Cordoned", within=5)
        self.say(f"delete {second}: it drains first")
        self.kubectl("delete", "bbbnode", second, "--wait=false")
        self.expect_condition(f"{second} waits for its meetings", second, "Drained", "False/", within=10)
        self.kubectl("get", "bbbnodes")
        self.say("its last meeting ends")
        self.farm.control.set_frozen(frozen=True)
        self.farm.control.end_meetings(self.farm.nodes[1].name)
        self.expect(f"{second} is gone", lambda: second not in self.nodes(), within=2 * TICK_SECONDS + SEAM_SECONDS)
        self.kubectl("get", "b3lb")


def main() -> int:
    """Run the demo; 0 when every state came, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--keep", action="store_true", help="stay up at the end and print the kubeconfig")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="b3lb-demo-", ignore_cleanup_errors=True) as directory:
        try:
            return show(Path(directory), keep=arguments.keep)
        except (NotSeenError, ProcessError, KubectlError, HelmError, ToolchainError) as error:
            print(f"\ndemo: {error}", file=sys.stderr)
            for log in sorted([*Path(directory).glob("log/*.log"), *Path(directory).glob("kubelet/pods/*/*.log")]):
                print(f"\n--- {log.parent.name}/{log.name}\n{last_lines(log, LOG_LINES)}", file=sys.stderr)
            return 1


def show(directory: Path, *, keep: bool) -> int:
    """Bring everything up, run the steps, and stay up if asked to."""
    print("bringing up etcd, kube-apiserver, controllers, scheduler, a node and a simulated farm …", flush=True)
    Path(directory).chmod(0o755)
    tenants = [("UNI", 1)]
    with (
        Farm(nodes=3, seed=7, meetings=4, attendees=12, step_seconds=4, start_time="now", tenants=tenants) as farm,
        Environment(directory, own_postgres=False) as environment,
    ):
        values = recording_values(width=1280, height=720, framesPerSecond=15)
        values["queues"]["core"] = {"spec": {"tickSeconds": TICK_SECONDS}}
        installation = Installation(environment, NAMESPACE, bundled_database=True, values=values)
        server = PushingServer(directory / "server", installation)
        try:
            # Its webcams are encoded while the farm is shown.
            with ThreadPoolExecutor(1) as pool:
                published = pool.submit(server.publish, LECTURE)
                Demo(installation, farm, server).run(published.result)
            if keep:
                stay(environment, farm)
        finally:
            if not environment.isolated:
                installation.operator.stop()
    return 0


def stay(environment: Environment, farm: Farm) -> None:
    """Say how to look around, and return on Ctrl-C."""
    print(f"\nstays up until Ctrl-C; the farm is controlled at {farm.control.url}")
    print(f"export KUBECONFIG={environment.control_plane.kubeconfig} PATH={kubectl_path().parent}:$PATH")
    print(f"kubectl config set-context --current --namespace={NAMESPACE}")
    print(f"pods are processes here: `kubectl logs` cannot reach them, their output is in {environment.pod_logs}")
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("stopping")


if __name__ == "__main__":
    sys.exit(main())
