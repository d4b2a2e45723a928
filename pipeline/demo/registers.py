"""The RAPL registers of a simulated node, which all its meters read."""

from collections.abc import Mapping

import numpy as np

from pipeline.demo.nodes import REGISTER_JOULES, Node
from pipeline.demo.power import PowerCurve
from pipeline.samples import Floats, Int64s


class Registers:
    """Each zone's registers, one a socket, psys one in all."""

    def __init__(self, node: Node, active: Mapping[str, PowerCurve]) -> None:
        """Prepare.

        Args:
            node: the machine.
            active: per zone, the energy of everything that runs on it.
        """
        self.node = node
        self.active = active

    def count(self, zone: str) -> int:
        """How many registers the zone has."""
        return len(self.node.registers_joules[zone])

    def shares(self, zone: str) -> tuple[float, ...]:
        """How the zone's energy splits over them."""
        return (1.0,) if self.count(zone) == 1 else self.node.socket_shares

    def used_joules(self, zone: str, at_ms: Int64s | Floats) -> Floats:
        """Active and idle energy since the fleet's start, by which the registers have moved."""
        origin = np.zeros(1)
        curves = (self.active[zone], self.node.idle[zone])
        used: Floats = sum((c.energy_joules(at_ms) - c.energy_joules(origin) for c in curves), start=np.zeros(1))
        return used

    def joules(self, zone: str, at_ms: Int64s | Floats) -> Floats:
        """The registers at each instant, one row a register."""
        shares = np.array(self.shares(zone))[:, None]
        first = np.array(self.node.registers_joules[zone])[:, None]
        registers: Floats = (first + shares * self.used_joules(zone, at_ms)) % REGISTER_JOULES[zone]
        return registers

    def wraps_ms(self, zone: str, number: int, begin_ms: int, end_ms: int) -> Floats:
        """When one register went over its end."""
        total = PowerCurve.sum([self.active[zone], self.node.idle[zone]])
        zero = float(total.energy_joules(np.zeros(1))[0])
        top, share = REGISTER_JOULES[zone], self.shares(zone)[number]
        first = self.node.registers_joules[zone][number]
        span = self.used_joules(zone, np.array([begin_ms, end_ms]))
        turns = np.arange(*np.ceil((first + share * span) / top))
        at_ms: Floats = np.interp((turns * top - first) / share + zero, total.joules, total.edges_ms)
        return at_ms
