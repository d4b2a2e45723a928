"""How the real Scaphandre is started on made registers, and what its series are called."""

from pathlib import Path

from tests.exporters.driving import Exporter
from tests.exporters.powercap import Powercap

INTERVAL_SECONDS = 3  # Scaphandre refreshes only when more than 2 s have passed since it was last asked
SOCKET, DOMAIN = "scaph_socket_energy_microjoules", "scaph_domain_energy_microjoules"
HOST_ENERGY, HOST_POWER = "scaph_host_energy_microjoules", "scaph_host_power_microwatts"
PROCESS_POWER, PROCESS_CPU = "scaph_process_power_consumption_microwatts", "scaph_process_cpu_usage_percentage"
GUEST = ("qemu-system-x86_64", "-name", "guest=web01,debug-threads=on")


def exporter(program: Path, powercap: Powercap, port: int, log: Path, *arguments: str) -> Exporter:
    """Scaphandre on made registers; without /proc/modules (a kernel that cannot load any) it needs an empty one."""
    env = {"SCAPHANDRE_POWERCAP_PATH": str(powercap.folder)}
    if not Path("/proc/modules").exists():
        env["LD_PRELOAD"] = str(program.with_name("proc_modules.so"))
    command = [str(program), "--vm", "prometheus", "--address", "127.0.0.1", "--port", str(port), *arguments]
    return Exporter(command, port, env, log)
