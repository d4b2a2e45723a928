"""A configuration as a systemd service and its timer, which may do little else than run it."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.deployment.packing import Packed, Places, pack
from pipeline.errors import visible
from pipeline.settings import Settings

SERVICE, TIMER, CONFIG = "carbon-etl.service", "carbon-etl.timer", "carbon-etl.toml"
UNITS, SETTINGS = Path("/etc/systemd/system"), Path("/etc/carbon-etl")
KEPT_SECRETS = SETTINGS / "secrets"
AMAZON = SETTINGS / "aws.env"  # AWS_... variables; not needed where a role of the machine gives the keys
PLACES = Places(secrets=Path("/run/credentials") / SERVICE, files=None, state=Path("/var/lib/carbon-etl"))
SERVICE_TEXT = """\
[Unit]
Description=carbon-etl: closed hours of energy become grams of CO2e
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=50min
StartLimitBurst=4

[Service]
Type=oneshot
ExecStart={program} run --config {config}
User=carbon-etl
Group=carbon-etl
{credentials}StateDirectory=carbon-etl
StateDirectoryMode=0750
WorkingDirectory=/var/lib/carbon-etl
TimeoutStartSec=55min
MemoryMax=2G
# 75: a source or store did not answer. What else fails needs somebody, not another try.
Restart=on-failure
RestartPreventExitStatus=1 2 65 69
RestartSec=5min

NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0027
"""
TIMER_TEXT = """\
[Unit]
Description=carbon-etl every hour, when the last one is closed

[Timer]
OnCalendar=*-*-* *:15:00
Persistent=yes
RandomizedDelaySec=2min

[Install]
WantedBy=timers.target
"""


def units(settings: Settings, program: Path) -> dict[str, str]:
    """The two units and the configuration as they read it, by the name of the file.

    Args:
        settings: the configuration.
        program: the installed `carbon-etl`.
    """
    packed = pack(settings, PLACES)
    kept = {name: _kept(name, source) for name, source in packed.secrets.items()}
    credentials = "".join(f"LoadCredential={_word(f'{name}:{path}')}\n" for name, path in kept.items())
    if packed.asks_amazon:
        credentials += f"EnvironmentFile=-{AMAZON}\n"
    service = SERVICE_TEXT.format(program=_word(str(program)), config=SETTINGS / CONFIG, credentials=credentials)
    return {SERVICE: _comment(packed) + service, TIMER: TIMER_TEXT, CONFIG: packed.config}


def listing(files: Mapping[str, str]) -> str:
    """All of them as one text, each under the path where it belongs."""
    places = {CONFIG: SETTINGS}
    return "\n".join(f"# {places.get(name, UNITS) / name}\n{text}" for name, text in files.items())


def _kept(name: str, source: str | Path) -> Path:
    """Where the secret lies: its own file, readable by root alone; of a variable a file that is made of it."""
    return source.absolute() if isinstance(source, Path) else KEPT_SECRETS / name


def _word(text: str) -> str:
    """One word of a unit file, whatever is in it."""
    escaped = visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if escaped == text and " " not in text else f'"{escaped}"'


def _comment(packed: Packed) -> str:
    """What is done once, by hand."""
    made = [
        f'printf %s "${source}" | install -D -m 600 /dev/stdin {KEPT_SECRETS / name}'
        for name, source in packed.secrets.items()
        if isinstance(source, str)
    ]
    lines = [
        "Written by `carbon-etl deploy systemd`. As root, once:",
        "  useradd --system --home-dir /var/lib/carbon-etl --shell /usr/sbin/nologin carbon-etl",
        *(f"  {line}" for line in made),
        "  systemctl daemon-reload && systemctl enable --now carbon-etl.timer",
    ]
    return "".join(f"# {visible(line)}\n" for line in lines)
