"""Names of items that are made on demand."""

from hypothesis import given
from hypothesis import strategies as st

from eval.preference.storage.items import OWN, degradation_of, item_name
from eval.preference.storage.votes import face_of
from gpen.degradation.degradation import Degradation

degradations = st.builds(
    Degradation,
    blur_sigma=st.none() | st.floats(0, 20),
    scale=st.none() | st.floats(1, 64),
    noise_sigma=st.none() | st.floats(0, 50),
    jpeg_quality=st.none() | st.integers(1, 100),
    grey=st.booleans(),
    seed=st.integers(0, 2**53 - 1),
)


@given(degradations, st.sampled_from(["astronaut", "grace_hopper", OWN]))
def test_name_contains_the_degradation(degradation, face):
    name = item_name(face, degradation)
    assert Degradation.from_dict(degradation_of(name)) == degradation
    assert face_of(name) == (name if face == OWN else face)  # every image of a visitor is a face of its own


def test_names_of_other_items_have_none():
    for name in ("fsr8/face", "arena/face", "face?seed=1", ""):
        assert degradation_of(name) is None
