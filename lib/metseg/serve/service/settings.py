"""How a visitor wants a slice or a volume segmented; what is left out is the model's own choice."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metseg.data.volume import SEQUENCES
from metseg.inference.predictor import Predictor
from metseg.masks.lesions import least_pixels
from metseg.masks.postprocess import Postprocessing
from metseg.release.released import Scan, fitting
from metseg.reports.result_paths import OF_DICOM
from metseg.serve.upload import MAX_PIXELS, Refused

_TOLD = "Of a volume: the name of the NIfTI file that is {}, or its DICOM series' UID."
_ALSO = "|".join(("report", "probabilities", *OF_DICOM))
OF_VOLUMES = {*SEQUENCES, "allow_missing", "also"}


class Settings(BaseModel):
    """The optional fields of a request, in its form or in its address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        None, description="A name from `/models`; if left out, the default one for a slice, or for a volume."
    )
    threshold: float | None = Field(
        None, gt=0, lt=1, allow_inf_nan=False, description="Probability from which a pixel is lesion."
    )
    lesion_threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="Lesions of a lower score, the mean of their voxels' log odds told as a probability, are "
        "dropped. Where it is below the network's `threshold`, that follows, unless it is given. What to "
        "expect of each value: `/models`.",
    )
    min_lesion_px: int | None = Field(
        None,
        ge=0,
        le=MAX_PIXELS,
        description="Lesions of fewer pixels are dropped; 0 keeps all. Not together with `min_lesion_mm2`.",
    )
    min_lesion_mm2: float | None = Field(
        None,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Lesions of a smaller area are dropped, mm²; 0 keeps all. Refused where the file does "
        "not tell the size of its pixels (its `spacing_mm` is null), and together with `min_lesion_px`.",
    )
    fill_holes: bool | None = Field(None, description="Background that a lesion encloses becomes lesion.")
    tta_flip: bool | None = Field(
        None, description="Average with the mirrored slice, for twice the time; of a slice alone."
    )
    trust_anyway: bool | None = Field(
        None, description="Segment what is unlike all scans of the training as well, and say so in a note."
    )
    t1: str | None = Field(None, description=_TOLD.format("pre-contrast"))
    flair: str | None = Field(None, description=_TOLD.format("FLAIR"))
    t1c: str | None = Field(None, description=_TOLD.format("post-contrast"))
    allow_missing: bool | None = Field(
        None, description="Of a volume: FLAIR, or else t1c, stands in for a sequence that is missing."
    )
    also: str | None = Field(
        None,
        pattern=f"^({_ALSO})(,({_ALSO}))*$",
        description="Of a volume: what is made beside the mask, separated by commas; all comes as one ZIP.",
        examples=["report", "report,seg"],
    )

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> "Settings":
        """Reads a request's fields; raises `Refused` where one is wrong."""
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            first = error.errors()[0]
        name, text = str(first["loc"][0]), first["msg"]
        message = f"{name} is {first['input']!r:.60}, but {text[0].lower()}{text[1:]}"
        if first["type"] == "extra_forbidden":
            message = f"There is no setting {name!r:.60}; the settings are {', '.join(cls.model_fields)}"
        raise Refused("invalid_setting", message)

    def idle_for(self, kind: Scan) -> list[str]:
        """Returns a sentence on each setting that was given and has no meaning for a slice, or a volume."""
        others = OF_VOLUMES if kind == "slice" else {"tta_flip"}
        idle = self.model_dump(include=others, exclude_none=True)
        return [f"{name} has no meaning for a {kind} and was not used." for name in idle]

    def chosen_of(self, models: Mapping[str, Predictor], kind: Scan) -> str:
        """Returns the name of the model asked for, or that fits a slice or a volume, or raises `Refused`."""
        known = {name: predictor.description for name, predictor in models.items()}
        if found := fitting(known, kind, self.model):
            return found[0]
        message = f"There is no model {self.model!r:.60}; the models are {', '.join(models)}"
        raise Refused("unknown_model", message)

    def postprocessing(self, predictor: Predictor, spacing_mm: Sequence[float] | None) -> Postprocessing:
        """Returns the parameters for `postprocess`, a model's own where nothing else was asked for.

        Args:
            predictor: The model.
            spacing_mm: Voxel size (z, y, x) of the slice in mm; None where it is unknown.

        Raises:
            Refused: The smallest lesion is given in mm² for a slice whose pixels are of unknown size, or
                in pixels as well.
        """
        asked = self.model_dump(include=set(Postprocessing.model_fields), exclude_none=True)
        if self.min_lesion_mm2 is not None:
            if self.min_lesion_px is not None:
                raise Refused("invalid_setting", "min_lesion_px and min_lesion_mm2 are both given; give one")
            if spacing_mm is None:
                message = "the file does not tell the size of its pixels; give min_lesion_px instead"
                raise Refused("invalid_setting", f"min_lesion_mm2 is given, but {message}")
            asked["min_lesion_px"] = least_pixels(self.min_lesion_mm2, spacing_mm)
        own = predictor.postprocessing
        if self.lesion_threshold is not None:
            own = own.detecting_from(self.lesion_threshold)
        own = own.extending_from(asked.pop("threshold", own.threshold))
        return own.model_copy(update=asked)
