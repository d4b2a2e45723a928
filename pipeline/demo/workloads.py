"""What runs on the simulated clusters: the recognisable demo, and generic filling for the tests."""

from pipeline.demo.pods import Workload
from pipeline.demo.power import Demand

DEMO = (
    Workload("shop", "storefront", "Deployment", Demand(9.0, 0.6, 19), replicas=2),
    Workload("shop", "checkout", "Deployment", Demand(5.0, 0.6, 19), replicas=2),
    Workload("shop", "postgres", "StatefulSet", Demand(7.0, 0.4, 19)),
    Workload("shop", "cart-cache", "StatefulSet", Demand(2.5, 0.5, 19)),
    Workload("llm", "llm-server", "Deployment", Demand(42.0, 0.5, 14)),
    Workload("llm", "llm-gateway", "Deployment", Demand(3.0, 0.5, 14)),
    Workload("llm", "embedder", "Deployment", Demand(14.0, 0.3, 14)),
    Workload("batch", "nightly-report", "CronJob", Demand(28.0), replicas=2, cron_hours=(1,), cron_minutes=100),
    Workload("batch", "hourly-import", "CronJob", Demand(8.0), cron_hours=tuple(range(24)), cron_minutes=6),
    Workload("monitoring", "prometheus", "StatefulSet", Demand(5.0)),
    Workload("monitoring", "grafana", "Deployment", Demand(1.2, 0.5, 11)),
    Workload("monitoring", "node-exporter", "DaemonSet", Demand(0.4)),
    Workload("kube-system", "coredns", "Deployment", Demand(0.7), replicas=2),
    Workload("kube-system", "kube-proxy", "DaemonSet", Demand(0.3)),
)

AGENT = Workload("monitoring", "node-agent", "DaemonSet", Demand(1.0))
SERVICES = (
    Workload("shop", "web", "Deployment", Demand(4.0)),
    Workload("shop", "database", "StatefulSet", Demand(6.0)),
    Workload("llm", "model-server", "Deployment", Demand(12.0)),
    Workload("analytics", "stream", "Deployment", Demand(3.0)),
    Workload("analytics", "store", "StatefulSet", Demand(5.0)),
    Workload("tools", "shell", "Pod", Demand(1.0)),
    Workload("tools", "wiki", "Deployment", Demand(1.5)),
)
JOBS = (
    Workload("batch", "import", "CronJob", Demand(6.0)),
    Workload("batch", "report", "CronJob", Demand(9.0)),
    Workload("analytics", "train", "Job", Demand(14.0)),
    Workload("tools", "probe", "Pod", Demand(0.5)),  # often below the 10 J that Kepler still shows after the end
)
LOOPING = Workload("shop", "payments", "Deployment", Demand(5.0))
