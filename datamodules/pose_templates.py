"""PoseTemplatesData: VGGFace2-Pose, to evaluate recognisers on."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.data.pairs import Pairs, check_pictures
from secateur.data.vggface2_pose import read_pose_list
from secateur.datamodules.identities import IdentitiesData
from secateur.datamodules.recognition import Labeled, Verified
from secateur.errors import InputError
from secateur.metrics.pose_protocol import PoseProtocol, make_pose_protocol


class PoseTemplatesData(IdentitiesData):
    """People in three poses; templates are means of several pictures in one pose.

    Its pairs are the comparisons of single pictures of all poses; `protocols` holds those of
    every two poses apart, for every size of template.

    Args:
        *arguments: Arguments of `IdentitiesData`.
        templates: The list of pictures, under the root.
        template_sizes: Pictures in a template.
        **options: More arguments of `IdentitiesData`.
    """

    def __init__(
        self,
        *arguments: Any,
        templates: str = "meta/test_posetemp_imglist.txt",
        template_sizes: tuple[int, ...] = (5, 1),
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.templates = templates
        self.template_sizes = tuple(template_sizes)
        self.protocols: dict[int, PoseProtocol] = {}

    def setup(self, stage: str | None = None) -> None:
        """Read the list.

        Args:
            stage: What Lightning prepares for.

        Raises:
            InputError: If it is training, or a file is missing or malformed.
        """
        if stage not in ("validate", "test"):
            raise InputError("data=vggface2_pose is there to evaluate on; train on data=identities")
        self._verified = self.read_verification()
        nobody = np.zeros(0, np.int64)
        self._labeled = Labeled(self._verified.images, nobody, ())

    def read_verification(self) -> Verified:
        """Read the list, find its pictures and make the templates."""
        path = self._checked_root() / self.templates
        listed = read_pose_list(path)
        folder = self._checked_root() / self.test
        names = tuple(name for _, _, name in listed)
        names = check_pictures(folder, names, path)
        numbered = [(person, pose, k) for k, (person, pose, _) in enumerate(listed)]
        self.protocols = {
            size: make_pose_protocol(numbered, size) for size in {*self.template_sizes, 1}
        }
        single = self.protocols[1]
        picture = np.array([template[0] for template in single.templates])
        parts = single.comparisons.values()
        first, second, same = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("first", "second", "same")
        )
        fold = np.zeros(len(first), np.int64)
        pairs = Pairs(picture[first], picture[second], same, fold)
        return Verified(self._images(folder, names, "test"), pairs, path.name)
