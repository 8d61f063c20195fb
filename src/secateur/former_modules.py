"""Modules under the names that they once had, for programs written with them.

Scripts that import them go on working, with a warning that names the new module.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORMER = {
    "callbacks.metrics_csv": "secateur.workflows.tracking.loggers",
    "secateur.data.anchor_sampling": "secateur.data.augmentations.window_transforms",
    "secateur.data.bin_set": "secateur.data.insightface_bin",
    "secateur.data.crop_window": "secateur.data.augmentations.window",
    "secateur.data.drawn_background": "secateur.data.synthetic.background",
    "secateur.data.drawn_clutter": "secateur.data.synthetic.clutter",
    "secateur.data.drawn_face": "secateur.data.synthetic.face",
    "secateur.data.drawn_faces": "secateur.data.synthetic.face_set",
    "secateur.data.drawn_identities": "secateur.data.synthetic.identity_set",
    "secateur.data.drawn_once": "secateur.data.synthetic.stored_set",
    "secateur.data.drawn_picture": "secateur.data.synthetic.scene",
    "secateur.data.epoch_sampler": "secateur.data.samplers",
    "secateur.data.face_looks": "secateur.data.synthetic.appearance",
    "secateur.data.holdout": "secateur.data.face_dataset",
    "secateur.data.identities": "secateur.data.identity_folders",
    "secateur.data.layout": "secateur.data.wider_layout",
    "secateur.data.pen": "secateur.data.synthetic.canvas",
    "secateur.data.pose_list": "secateur.data.vggface2_pose",
    "secateur.data.record_io": "secateur.data.insightface_rec",
    "secateur.data.square_crop": "secateur.data.augmentations.window_transforms",
    "secateur.data.window_crop": "secateur.data.augmentations.window_transforms",
    "secateur.deploy.allocator": "secateur.runtime.allocator",
    "secateur.deploy.denormals": "secateur.runtime.denormals",
    "secateur.deploy.fusing": "secateur.runtime.fusion",
    "secateur.deploy.latency": "secateur.cost.latency",
    "secateur.deploy.yunet": "secateur.deploy.yunet_onnx",
    "secateur.detectors.box_voting": "secateur.detectors.protocols",
    "secateur.detectors.eresfd_layers": "secateur.detectors.eresfd",
    "secateur.detectors.heads": "secateur.detectors.prediction_heads",
    "secateur.detectors.known_weights": "secateur.weights.known",
    "secateur.detectors.preprocess": "secateur.data.preprocessing",
    "secateur.detectors.weights": "secateur.weights.detector_weights",
    "secateur.metrics.comparison": "secateur.metrics.embeddings",
    "secateur.metrics.embedding": "secateur.metrics.embeddings",
    "secateur.metrics.folds": "secateur.metrics.verification",
    "secateur.metrics.score_histogram": "secateur.metrics.roc",
    "secateur.metrics.templates": "secateur.metrics.embeddings",
    "secateur.pruning.accounting": "secateur.cost.report",
    "secateur.pruning.analysis": "secateur.slimming.analysis",
    "secateur.pruning.channel_sets": "secateur.pruning.coupled_sets",
    "secateur.pruning.classes": "secateur.slimming.dependencies",
    "secateur.pruning.constants": "secateur.slimming.graph.constant_propagation",
    "secateur.pruning.dense_weights": "secateur.weights.dense",
    "secateur.pruning.dropping": "secateur.slimming.slim",
    "secateur.pruning.equality": "secateur.slimming.equivalence",
    "secateur.pruning.filter_sets": "secateur.pruning.coupling",
    "secateur.pruning.flow": "secateur.slimming.dependencies",
    "secateur.pruning.folding": "secateur.slimming.absorption",
    "secateur.pruning.follow": "secateur.slimming.propagation",
    "secateur.pruning.groups": "secateur.pruning.layers",
    "secateur.pruning.keeping": "secateur.slimming.liveness",
    "secateur.pruning.labels": "secateur.slimming.graph.expanded_tensors",
    "secateur.pruning.latency_measurement": "secateur.cost.layer_latency",
    "secateur.pruning.latency_table": "secateur.cost.layer_latency",
    "secateur.pruning.latency_target": "secateur.pruning.targets",
    "secateur.pruning.layer_calls": "secateur.pruning.refitting.layer_calls",
    "secateur.pruning.layout": "secateur.slimming.graph.operators",
    "secateur.pruning.least_squares": "secateur.pruning.refitting.least_squares",
    "secateur.pruning.liveness": "secateur.slimming.liveness",
    "secateur.pruning.macs": "secateur.cost.macs",
    "secateur.pruning.merging": "secateur.slimming.absorption",
    "secateur.pruning.moves": "secateur.slimming.graph.operators",
    "secateur.pruning.operators": "secateur.slimming.graph.operators",
    "secateur.pruning.paired_execution": "secateur.pruning.refitting.paired_execution",
    "secateur.pruning.plan": "secateur.pruning.ranking",
    "secateur.pruning.proof": "secateur.pruning.artifact",
    "secateur.pruning.scattering": "secateur.slimming.scattered_conv",
    "secateur.pruning.scopes": "secateur.pruning.ranking",
    "secateur.pruning.slim_report": "secateur.slimming.report",
    "secateur.pruning.slim_sizes": "secateur.pruning.sizes",
    "secateur.pruning.slimming": "secateur.slimming.slim",
    "secateur.pruning.sparsity": "secateur.cost.parameters",
    "secateur.pruning.statistics": "secateur.pruning.taylor",
    "secateur.pruning.surgery": "secateur.slimming.surgery",
    "secateur.pruning.trace": "secateur.slimming.graph.network_graph",
    "secateur.pruning.values": "secateur.slimming.graph.constant_propagation",
    "secateur.pruning.widening": "secateur.slimming.reshape_probe",
    "secateur.recognizers.heads": "secateur.recognizers.classification_heads",
    "secateur.recognizers.margins": "secateur.recognizers.classification_heads",
    "secateur.recognizers.weights": "secateur.weights.recognizer_weights",
    "secateur.reports.files": "secateur.files",
    "secateur.reports.pruning_curve": "secateur.reports.pruning_curve_plots",
    "secateur.search.crew": "secateur.search.workers",
    "secateur.search.drawn_batches": "secateur.search.fixed_batches",
    "secateur.search.face_quality": "secateur.search.face_objective",
    "secateur.search.front_space": "secateur.search.exact_space",
    "secateur.search.identity_quality": "secateur.search.identity_objective",
    "secateur.search.level_counts": "secateur.search.level_sizes",
    "secateur.search.levels": "secateur.search.rate_levels",
    "secateur.search.objective_settings": "secateur.search.objective",
    "secateur.search.owner": "secateur.search.process_identity",
    "secateur.search.placement": "secateur.search.exact_space",
    "secateur.search.progress": "secateur.workflows.search.progress",
    "secateur.search.recalibration": "secateur.search.objective",
    "secateur.search.removal": "secateur.search.rate_levels",
    "secateur.search.slim_levels": "secateur.search.slim_level_sizes",
    "secateur.search.storage": "secateur.search.study",
    "secateur.search.trial_network": "secateur.search.objective",
    "secateur.search.worker": "secateur.search.workers",
    "secateur.slimming.constant_propagation": "secateur.slimming.graph.constant_propagation",
    "secateur.slimming.expanded_tensors": "secateur.slimming.graph.expanded_tensors",
    "secateur.slimming.operators": "secateur.slimming.graph.operators",
    "secateur.slimming.subgraphs": "secateur.slimming.graph.subgraphs",
    "secateur.timing": "secateur.cost.latency",
    "secateur.workflows.architectures": "secateur.weights.architectures",
    "secateur.workflows.detecting": "secateur.workflows.evaluate.inference",
    "secateur.workflows.detector_sources": "secateur.workflows.networks",
    "secateur.workflows.device_choice": "secateur.workflows.sweep",
    "secateur.workflows.evaluate_recognizer": "secateur.workflows.evaluate.recognition",
    "secateur.workflows.evaluation_set": "secateur.workflows.evaluate.evaluation_set",
    "secateur.workflows.finish": "secateur.workflows.train.finalize",
    "secateur.workflows.judging": "secateur.workflows.search.trial_setup",
    "secateur.workflows.locks": "secateur.workflows.run_folder",
    "secateur.workflows.pipeline_configs": "secateur.workflows.pipeline.step_configs",
    "secateur.workflows.pipeline_step": "secateur.workflows.pipeline.pipeline_step",
    "secateur.workflows.search_assignment": "secateur.workflows.search.search_job",
    "secateur.workflows.search_results": "secateur.workflows.search.search_report",
    "secateur.workflows.sensitivity": "secateur.workflows.search.layer_sensitivity",
    "secateur.workflows.sweep_job": "secateur.workflows.sweep",
    "secateur.workflows.train_command": "secateur.workflows.train.command",
}
"""Former name of a module to its name now."""


class FormerModules(MetaPathFinder, Loader):
    """Finds a module by its former name: another module object with the same contents."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for the names of the table only."""
        return ModuleSpec(fullname, self) if fullname in FORMER else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with what it is called now."""
        name = FORMER[module.__name__]
        warnings.warn(f"{module.__name__} is called {name} now", DeprecationWarning, stacklevel=2)
        contents = vars(import_module(name))
        vars(module).update({k: v for k, v in contents.items() if not k.startswith("__")})


def install() -> None:
    """Look names up here that nothing else finds."""
    if not any(isinstance(finder, FormerModules) for finder in sys.meta_path):
        sys.meta_path.append(FormerModules())
