"""From a workdir to a report: no flag of the training has to be repeated."""

from pathlib import Path
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from dkse_jax import runtime, sharding
from dkse_jax.console import log
from dkse_jax.data.bad_images import bad_images
from dkse_jax.data.pipeline import fingerprint
from dkse_jax.data.sources import Source, load_all, load_splits, subset
from dkse_jax.data.splits import SPLITS
from dkse_jax.data.transform import Transform
from dkse_jax.distributed import processes, watch
from dkse_jax.errors import UserError, nearest
from dkse_jax.evaluation.evaluate import make_forward, predict
from dkse_jax.evaluation.gradcam import choose_stage
from dkse_jax.evaluation.overlays import MAX_EXAMPLES, make_explain, write_overlays
from dkse_jax.evaluation.report import summary, write_report
from dkse_jax.evaluation.restore import restore_best
from dkse_jax.models import create_model
from dkse_jax.workdir import description


def evaluate_run(
    workdir: Path,
    split: str,
    root: Path | None,
    *,
    gradcam: int | None = None,
    stage: str | None = None,
) -> None:
    """Judges a run's best checkpoint on a split of its data, or on all images under root.

    Writes workdir/eval/<split> and prints a summary.

    Args:
        workdir: of the run.
        split: train, val or test; all, with a root.
        root: of other images than the run's.
        gradcam: examples of each class to explain (see `overlays.write_overlays`), if any.
        stage: what Grad-CAM looks at; by default the last stage that is a map.

    Raises:
        UserError: there is no such run, checkpoint, split, folder or stage, or the data changed.
    """
    runtime.reuse_memory()
    config, inputs = description.load_config(workdir), description.load_inputs(workdir)
    transform = Transform.from_json(inputs["transform"])
    model = create_model(config.model, len(inputs["class_names"]))
    stage = _stage_to_explain(model, transform.size, gradcam, stage)
    source = choose_source(config, inputs, split, root)
    processes.check_agreed({f"the {split} data": fingerprint(source)[:12]})
    mesh = sharding.make_mesh()
    step, variables = restore_best(workdir, model, transform.size, mesh)

    runtime.use_compilation_cache()

    log(f"evaluating step {step} on {split}: {len(source)} images")
    bad = bad_images(source, config.data)
    with watch.working():
        log_probabilities = predict(
            make_forward(model, transform, mesh),
            variables,
            source,
            transform,
            mesh,
            batch_size=config.eval.batch_size,
            threads=config.data.threads,
            bad=bad,
        )
    if not processes.is_first():
        return
    if bad:
        source = subset(source, bad.readable())
    folder = workdir / "eval" / split
    metrics = write_report(
        folder,
        step=step,
        source_ids=source.ids,
        labels=source.labels,
        log_probabilities=log_probabilities,
        groups=source.groups,
        class_names=source.class_names,
        read_image=lambda index: source.read(index, 256),
        bootstrap_samples=config.eval.bootstrap_samples,
        seed=config.seed,
        skipped=bad.rows() if bad else (),
    )
    print(summary(metrics))
    log(f"report: {folder}")
    if gradcam is not None and stage is not None:
        paths = write_overlays(
            folder / "gradcam",
            explain=make_explain(model, variables, transform, stage, mesh),
            stage=stage,
            source=source,
            log_probabilities=log_probabilities,
            transform=transform,
            count=gradcam,
            threads=config.data.threads,
        )
        log(f"Grad-CAM at {stage}: {len(paths)} pictures in {folder / 'gradcam'}")
    log(f"{split} accuracy {metrics['accuracy']:.4f}; look at {folder / 'confusion.png'}")


def _stage_to_explain(
    model: nn.Module, image_size: int, count: int | None, stage: str | None
) -> str | None:
    """The stage that Grad-CAM is to look at; None where no examples are to be explained."""
    if count is None:
        if stage is not None:
            raise UserError(f"--stage={stage} needs --gradcam=N, the examples of each class")
        return None
    if not 1 <= count <= MAX_EXAMPLES:
        raise UserError(f"--gradcam is {count}, but must be from 1 to {MAX_EXAMPLES}")
    return choose_stage(model, image_size, stage)


def choose_source(
    config: ConfigDict, inputs: dict[str, Any], split: str, root: Path | None
) -> Source:
    """The split of the run's own data, checked to be unchanged, or all images under root."""
    if split not in (*SPLITS, "all"):
        raise UserError(f'--split is "{split}"{nearest(split, (*SPLITS, "all"))}')
    if (root is None) == (split == "all"):
        raise UserError("--split=all and --root=IMAGES go together: name both or neither")
    class_names = tuple(inputs["class_names"])
    if root is not None:
        return load_all(str(root), class_names)
    source = load_splits(config.data, config.seed)[split]
    saved = inputs["splits"][split]
    if fingerprint(source) != saved["fingerprint"]:
        raise UserError(
            f"the {split} data changed since the training, which saw {saved['examples']} examples"
            f" (now {len(source)}); restore it, or judge it as other images with --root"
        )
    return source
