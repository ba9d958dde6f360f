"""Networks on the command line that are no file of the user's."""

from pathlib import Path

import pytest

from pyadx.commands.explaining.networks import explainer, network
from pyadx.models.demonstration import NETWORKS, demonstration_checkpoint


@pytest.mark.parametrize("name", NETWORKS)
def test_a_bundled_network_is_found_by_its_name(name):
    own = network(f"demo:{name}")
    assert own.sha256 == network(demonstration_checkpoint(name)).sha256
    assert explainer(Path(f"demo:{name}"), "cpu", "gradcam") is explainer(f"demo:{name}", "cpu", "gradcam")


def test_an_unknown_bundled_network_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no demonstration network 'alexnet'; there are vggnet and"):
        network(Path("demo:alexnet"))
