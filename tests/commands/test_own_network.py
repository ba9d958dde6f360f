"""Networks on the command line that are no file of the user's."""

from pathlib import Path

import pytest

from pyadx.commands.explaining.networks import explainer, network
from pyadx.models.demonstration import NETWORKS, demonstration_checkpoint


@pytest.mark.parametrize("name", NETWORKS)
def test_a_bundled_network_is_found_by_its_name(name):
    assert network(Path(f"demo:{name}")) is network(demonstration_checkpoint(name))
    assert explainer(Path(f"demo:{name}"), "cpu", "gradcam") is explainer(
        demonstration_checkpoint(name), "cpu", "gradcam"
    )


def test_an_unknown_bundled_network_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="vggnet and resnet-shallow-gap, not 'alexnet'"):
        network(Path("demo:alexnet"))
