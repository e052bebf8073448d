"""What a data set is, by the names of its scans."""

import pytest

from metseg.data.provenance import GLIOMA, LGG, METASTASES, OWN, PHANTOM, provenance_of


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["TCGA_CS_4941_19960909"], LGG),
        (["TCGA-HT-7473_19970826", "P1"], LGG),  # one scan of a public set carries its terms
        (["Brats18_2013_11_1"], GLIOMA),
        (["BraTS20_Training_001"], GLIOMA),
        (["BraTS2021_00002"], GLIOMA),
        (["BraTS-GLI-00001-000"], GLIOMA),
        (["BraTS-MET-00086-001"], METASTASES),
        (["PHANTOM_0001_20000101"], PHANTOM),
        (["PHANTOM-MET-00001-000", "PHANTOM-MET-00001_20240115"], PHANTOM),
        (["PHANTOM-MET-00001-000", "P1"], OWN),
        (["100101A"], OWN),
        (["TCGA_AB_1234"], OWN),  # of another collection
        (["my_BraTS-MET-00086-001"], OWN),
    ],
)
def test_by_names(names, known):
    assert provenance_of(names) == known
