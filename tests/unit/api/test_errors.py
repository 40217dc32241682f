"""What is wrong is said in one readable line."""

from hawse_api.v1alpha1 import ObjectInvalid, Problem


def test_problems_are_joined_with_their_paths() -> None:
    error = ObjectInvalid("Tunnel", (Problem("spec.host", "is required"), Problem("", "is not a Tunnel")))
    assert str(error) == "spec.host: is required; is not a Tunnel"


def test_a_flood_of_problems_is_cut_and_counted() -> None:
    error = ObjectInvalid("Fleet", tuple(Problem(f"spec.reservedNames[{index}]", "must match") for index in range(20)))
    assert str(error).endswith("spec.reservedNames[7]: must match; and 12 more")
    assert len(error.problems) == 20
