"""The outline of a mask along the edges of its pixels, so that its area is theirs exactly."""

import numpy as np

_TURNS = {(0, 1): (1, 0), (1, 0): (0, -1), (0, -1): (-1, 0), (-1, 0): (0, 1)}  # (row, column), clockwise


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Returns closed polygons that hold the mask's pixels and nothing else.

    A part that touches another at a corner has a polygon of its own. A hole is joined to what is around it by
    a keyhole, two lines on each other, as DICOM wants it (PS3.3 C.8.8.6.3).

    Args:
        mask: (Y, X) bool.

    Returns:
        For each part (N, 2) float, (x, y) of its corners in px from the centre of the upper left pixel; the
        last corner is joined to the first.
    """
    loops = _loops(mask)
    around = [loop for loop in loops if _area(loop) > 0]
    holes = sorted((loop for loop in loops if _area(loop) < 0), key=lambda loop: -max(x for _, x in loop))
    for (
        hole
    ) in holes:  # the rightmost first: the way to the right ends at an outline or a hole joined already
        start = max(range(len(hole)), key=lambda k: hole[k][1])
        row, column = hole[start]
        ends = [(x, loop, k) for loop in around for k, (y, x) in enumerate(loop) if y == row and x > column]
        _, loop, k = min(ends, key=lambda end: end[0])
        loop[k + 1 : k + 1] = [*hole[start:], *hole[: start + 1], loop[k]]
    return [_without_straight(loop) for loop in around]


def filled(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Returns which pixels, (Y, X) bool, have their centre in polygons as of `outlines`, by even and odd."""
    mask, columns = np.zeros(shape, bool), np.arange(shape[1])
    for polygon in polygons:
        following = np.roll(polygon, -1, axis=0)
        for (x, y), (x_next, y_next) in zip(polygon, following, strict=True):
            if y != y_next:  # each edge turns over what lies to its right
                low, high = sorted((y, y_next))
                rows = np.arange(max(0, int(np.ceil(low))), min(shape[0], max(0, int(np.ceil(high)))))
                crossed = x + (rows - y) * ((x_next - x) / (y_next - y))
                mask[rows] ^= columns >= crossed[:, None]
    return mask


def _loops(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Returns the border's closed ways over pixel corners, (row, column) each, with the mask on the right."""
    padded = np.pad(mask, 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for (dy, dx), step in (((-1, 0), (0, 1)), ((0, 1), (1, 0)), ((1, 0), (0, -1)), ((0, -1), (-1, 0))):
        border = mask & ~padded[1 + dy : 1 + dy + mask.shape[0], 1 + dx : 1 + dx + mask.shape[1]]
        first = {(0, 1): (0, 0), (1, 0): (0, 1), (0, -1): (1, 1), (-1, 0): (1, 0)}[step]
        for row, column in (np.argwhere(border) + first).tolist():
            following.setdefault((row, column), []).append(step)
    loops = []
    while following:
        start = corner = next(iter(following))
        loop, step = [], None
        while True:
            steps = following[corner]
            # Where two parts touch at a corner, turn right: the way stays with its own part.
            step = steps[0] if len(steps) == 1 or step is None else _TURNS[step]
            steps.remove(step)
            if not steps:
                del following[corner]
            loop.append(corner)
            corner = corner[0] + step[0], corner[1] + step[1]
            if corner == start:
                break
        loops.append(loop)
    return loops


def _area(loop: list[tuple[int, int]]) -> float:
    rows, columns = np.array(loop).T
    return float(columns @ np.roll(rows, -1) - np.roll(columns, -1) @ rows) / 2


def _without_straight(loop: list[tuple[int, int]]) -> np.ndarray:
    """Returns a loop's turns alone, (x, y) from the centre of the upper left pixel."""
    corners = np.array(loop, float)
    turns = np.any(corners - np.roll(corners, 1, 0) != np.roll(corners, -1, 0) - corners, axis=1)
    return corners[turns][:, ::-1] - 0.5
