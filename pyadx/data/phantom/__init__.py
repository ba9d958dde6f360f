"""A synthetic cohort on real anatomy, with planted and therefore known disease."""

from pyadx.data.phantom.dataset import check_phantom, planted_file, write_phantom
from pyadx.data.phantom.subject import Person, draw_people

__all__ = ["Person", "check_phantom", "draw_people", "planted_file", "write_phantom"]
