"""What a network's convolutions cost: operations and the memory traffic they cannot do without."""

from dataclasses import dataclass
from typing import Self

ELEMENT_BYTES = {"float32": 4, "bfloat16": 2}
TRAINING_PASSES = 3  # forward, gradient of the inputs, gradient of the weights: as many operations each


@dataclass(frozen=True)
class Cost:
    """The cost of one image's way forward through some convolutions.

    Attributes:
        flop: Floating-point operations; a multiplication and its addition are two.
        elements: Numbers that the convolutions read and write, each input and output once.
        weights: Numbers in their kernels.
    """

    flop: int = 0
    elements: int = 0
    weights: int = 0

    def __add__(self, other: Self) -> Self:
        return Cost(self.flop + other.flop, self.elements + other.elements, self.weights + other.weights)

    def intensity(self, *, batch: int, precision: str) -> float:
        """Returns the arithmetic intensity of a batch, FLOP/byte.

        Every convolution reads its inputs and its kernel once and writes its outputs once; nothing else is
        counted. This assumes that caches are cold: feature maps that are still in the last-level cache when
        the next convolution reads them cost the main memory nothing. A training does three times the
        operations on three times the traffic, which leaves the quotient as it is.

        Reference:
            Williams et al. 2009, "Roofline", doi:10.1145/1498765.1498785, operational intensity.
        """
        moved = ELEMENT_BYTES[precision] * (batch * self.elements + self.weights)
        return batch * self.flop / moved


def convolution_cost(*, positions: int, inputs: int, outputs: int, weights: int) -> Cost:
    """Returns the cost of one convolution on one image; biases are left out.

    Args:
        positions: Places where the whole kernel is applied: pixels of the output, or, of a transposed
            convolution, pixels of the input.
        inputs, outputs: Numbers that go in and come out.
        weights: Numbers in the kernel: taps · channels in / groups · channels out.
    """
    return Cost(2 * positions * weights, inputs + outputs, weights)
