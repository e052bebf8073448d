"""A former scan laid on today's: rigid registration by mutual information."""

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's axes point left and posterior, ours right and anterior


_SHRINK, _SAMPLES = (4, 2, 1), 100_000  # by level; more points gain less than 0.1 mm


def register_rigid(former: Volume, now: Volume) -> np.ndarray:
    """Returns (4, 4): where a point of the former scan lies today, mm → mm in RAS+.

    Mattes' mutual information over three resolutions, from the heads' centres of mass; both scans by their
    post-contrast sequence, or the first one that both have. The same scans always give the same result.

    Raises:
        MetsegError: A scan has no affine or a sheared one, or they share no sequence or do not overlap.
    """
    import SimpleITK as sitk  # here, for it is large and few ask for it

    common = [name for name in ("t1c", *now.channels) if name in now.channels and name in former.channels]
    if not common:
        raise MetsegError(
            f"the visits share no sequence ({', '.join(former.channels)}; {', '.join(now.channels)}); "
            "give one that both have"
        )
    fixed, moving = (_image(volume, common[0]) for volume in (now, former))
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    voxels = [fixed.GetNumberOfPixels() / factor**3 for factor in _SHRINK]
    method.SetMetricSamplingPercentagePerLevel([min(1.0, _SAMPLES / each) for each in voxels])
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(list(_SHRINK))
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    method.SetInitialTransform(start, inPlace=False)
    try:
        found = method.Execute(fixed, moving)
    except RuntimeError as error:  # of all that goes wrong in ITK
        raise MetsegError("the visits cannot be registered; compare them without registration") from error
    zero = np.array(found.TransformPoint((0.0, 0.0, 0.0)))
    to_former = np.eye(4)
    to_former[:3, 3] = zero
    to_former[:3, :3] = np.stack([found.TransformPoint(tuple(unit)) - zero for unit in np.eye(3)], axis=1)
    return _LPS @ np.linalg.inv(to_former) @ _LPS


def _image(volume: Volume, channel: str):
    import SimpleITK as sitk

    if volume.affine is None:
        raise MetsegError("a visit has no coordinates to register; export it as NIfTI or DICOM")
    lps = _LPS @ volume.affine
    direction = lps[:3, :3] / volume.spacing_mm[::-1]
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise MetsegError("a visit's grid is sheared, which registration cannot take; resample it first")
    image = sitk.GetImageFromArray(volume.array[volume.channels.index(channel)].astype(np.float32))
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    return image
