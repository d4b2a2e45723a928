"""How the real Kepler 0.9.0 is started on made registers, made containers and made pods."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.exporters.driving import Burner, Exporter
from tests.exporters.kubernetes import kubeconfig
from tests.exporters.powercap import Powercap, Register

REFRESH_SECONDS = 3  # its own period, whoever scrapes
NODE = "worker-1"
CAPABILITIES = {"CAP_PERFMON": 38, "CAP_BPF": 39}
TYPES = Path("/sys/kernel/btf/vmlinux")


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder that holds the made parts of a machine.

    Attributes:
        folder: where; `sys`, `proc` and the settings lie in it.
        powercap: its registers.
    """

    folder: Path
    powercap: Powercap

    @classmethod
    def of(cls, folder: Path, registers: Sequence[Register]) -> "Machine":
        """Registers where old Kepler looks for them: domains inside their socket, all inside `intel-rapl`."""
        nested = [replace(one, folder=_nested(one.folder)) for one in registers]
        sockets = sum(not one.is_dram for one in registers)
        count = max(os.cpu_count() or 1, sockets)
        for cpu in range(count):  # it looks for as many packages as there are of these
            place = folder / "sys" / "devices" / "system" / "cpu" / f"cpu{cpu}"
            (place / "topology").mkdir(parents=True)
            (place / "online").write_text("1\n", encoding="ascii")
            (place / "topology" / "physical_package_id").write_text(f"{cpu % sockets}\n", encoding="ascii")
            (place / "topology" / "core_id").write_text(f"{cpu}\n", encoding="ascii")
        (folder / "proc").mkdir()
        cpus = "".join(f"processor\t: {cpu}\n\n" for cpu in range(count))
        (folder / "proc" / "cpuinfo").write_text(cpus, encoding="ascii")
        return cls(folder, Powercap(folder / "sys" / "class" / "powercap" / "intel-rapl", nested))

    def contain(self, containers: Mapping[str, Burner]) -> None:
        """Processes are in these containers (by id): whatever is not told is in none."""
        for container_id, process in containers.items():
            place = self.folder / "proc" / str(process.pid)
            place.mkdir(parents=True)
            line = f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{container_id}.scope\n"
            (place / "cgroup").write_text(line, encoding="ascii")

    def exporter(self, program: Path, port: int, *arguments: str, api: str | None = None) -> Exporter:
        """Kepler on this machine, its cgroups read from files, pods from `api`."""
        made = {"SYS_DIR": str(self.folder / "sys"), "PROC_DIR": str(self.folder / "proc"), "NODE_NAME": NODE,
                "GHW_CHROOT": str(self.folder), "EXPOSE_ESTIMATED_IDLE_POWER_METRICS": "true"}  # fmt: skip
        command = [str(program), f"--address=127.0.0.1:{port}", f"--config-dir={self.folder / 'config'}",
                   "--enable-cgroup-id=false", f"--apiserver={str(api is not None).lower()}", *arguments]  # fmt: skip
        if api is not None:
            file = self.folder / "kubeconfig"
            file.write_text(kubeconfig(api), encoding="utf-8")
            command.append(f"--kubeconfig={file}")
        return Exporter(command, port, made, self.folder / "log")


def why_not_here() -> str | None:
    """Old Kepler counts CPU time by eBPF: None where this process may load that, else one line."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    held = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff")), 0)
    lacking = [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]
    if lacking:
        return f"old Kepler needs eBPF, and this user ({os.geteuid()}) lacks {' and '.join(lacking)}: run as root"
    if not TYPES.exists():
        return f"old Kepler needs eBPF, and this kernel has no {TYPES}"
    return None


def _nested(folder: str) -> str:
    socket, domain = folder.split(":")[1], folder.split(":")[2:]
    return f"intel-rapl:{socket}" + "".join(f"/{folder}" for _ in domain)
