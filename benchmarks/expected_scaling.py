"""Expected time of a step on many devices: python -m benchmarks.expected_scaling

Divides the network's operations and weights by assumed rates: docs/scaling.md has the formula and
the table.
"""

from typing import NamedTuple

from configs import dkse
from dkse_jax import cli, markdown
from dkse_jax.models import configured_model
from dkse_jax.models.counts import count, totals
from dkse_jax.training.estimate import training_flops

CLASSES, IMAGES_A_DEVICE = 5, 32
IMAGES_A_CORE = 300  # decoded and augmented a second: BENCHMARKS.md


class Machine(NamedTuple):
    """The assumptions about a device.

    Attributes:
        name: of the device.
        a_host: devices of one host.
        rate: assumed operations a second of a training step.
        inside, between: bytes a second that a device sends within its host, and to other hosts,
            from the vendor.
    """

    name: str
    a_host: int
    rate: float
    inside: float
    between: float


MACHINES = (
    Machine("H100, NVLink, 400 Gb/s a device", 8, 100e12, 450e9, 50e9),
    Machine("TPU v5e, ICI", 4, 40e12, 200e9, 200e9),
)
COUNTS = (1, 8, 16, 64, 256)


def main() -> None:
    """Prints the table."""
    header = (
        *("network", "device", "devices", "batch", "compute", "all-reduce"),
        *("efficiency", "images/s a host", "cores for them"),
    )
    lines = [
        line(variant, machine, devices)
        for variant in ("best", "figure10")
        for machine in MACHINES
        for devices in COUNTS
    ]
    print(markdown.table(header, lines, numbers=range(2, len(header))))


def line(variant: str, machine: Machine, devices: int) -> tuple[str, ...]:
    """Computes one row, assuming no overlap of computation and communication."""
    config = dkse.get_config(variant)
    model = configured_model(config.model, CLASSES)
    parameters, macs = totals(count(model, config.data.image_size))
    compute = training_flops(macs) * IMAGES_A_DEVICE / machine.rate
    link = machine.inside if devices <= machine.a_host else machine.between
    exchange = 2 * (devices - 1) / devices * 4 * parameters / link
    rate = min(devices, machine.a_host) * IMAGES_A_DEVICE / (compute + exchange)
    return (
        variant,
        machine.name,
        str(devices),
        f"{devices * IMAGES_A_DEVICE:,}",
        f"{1000 * compute:.1f} ms",
        f"{1000 * exchange:.2f} ms",
        f"{compute / (compute + exchange):.0%}",
        f"{rate:,.0f}",
        f"{rate / IMAGES_A_CORE:,.0f}",
    )


if __name__ == "__main__":
    cli.run(main)
