"""R3D against the numbers of the published encoder."""

import pytest
import torch

from vidssl.models import R3D, r3d, r3d_tiny, r3d_tiny_difference


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_parameters_and_last_map_are_the_published_ones() -> None:
    with torch.device("meta"):  # shapes, no numbers
        encoder = r3d()
        last = encoder.forward_map(torch.zeros(1, 3, 16, 112, 112))
    assert sum(p.numel() for p in encoder.parameters()) == 14_361_792
    assert not [
        name for name, part in encoder.named_modules() if isinstance(part, torch.nn.Conv3d) and part.bias is not None
    ]
    assert last.shape == (1, 512, 2, 7, 7)
    assert encoder.features == 512


def test_one_block_a_stage_unless_told() -> None:
    assert len(r3d_tiny().stages) == 4
    assert len(R3D((8, 8, 8, 8, 8), blocks=2).stages) == 8


def test_features_are_the_mean_of_the_last_map() -> None:
    encoder = r3d_tiny().eval()
    clips = torch.rand(2, 3, 8, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(encoder(clips), encoder.forward_map(clips).flatten(2).mean(2))


def test_differences_hide_what_stands_still() -> None:
    plain, encoder = r3d_tiny().eval(), r3d_tiny_difference().eval()
    clips, still = torch.rand(2, 3, 8, 32, 32), torch.rand(2, 3, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(clips + still), encoder(clips), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(plain(clips + still), plain(clips), rtol=1e-2)
        # It is the plain encoder on differences, with the same weights.
        plain.load_state_dict({name.replace("stem.0.1.", "stem.0."): one for name, one in encoder.state_dict().items()})
        torch.testing.assert_close(encoder(clips), plain(clips.diff(dim=2)))


@pytest.mark.parametrize("widths", [(8, 8, 8), (8, 8, 8, 8, 0)])
def test_wrong_widths_are_named(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"widths=.*five positive"):
        R3D(widths)
