"""A trained model: what a run's workdir holds, ready to classify images."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike
from ml_collections import ConfigDict
from PIL import Image

from dkse_jax import arithmetic, runtime, sharding
from dkse_jax.data.decode import decode_image, image_to_rgb
from dkse_jax.data.transform import Transform, normalise
from dkse_jax.errors import UserError, nearest
from dkse_jax.evaluation.gradcam import choose_stage, grad_cam
from dkse_jax.files import expanded
from dkse_jax.inference import make_forward, mean_log_probabilities, mean_of_views, stream
from dkse_jax.models import configured_model
from dkse_jax.workdir import checkpoint, description

Picture = str | Path | Image.Image | np.ndarray  # an array is uint8 (H, W, 3)
BATCH, EXPLAIN_BATCH = 32, 8  # Grad-CAM takes as much memory for an image as training


class Prediction(NamedTuple):
    """The answer for one image."""

    class_name: str  # the most probable class
    probability: float  # of that class
    probabilities: np.ndarray  # (K,) float32, in the order of Trained.class_names


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Images of any kind as `inference.stream` reads them."""

    images: Sequence[Picture]
    profiles: bool  # as of `decode`

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int, min_side: int | None) -> np.ndarray:
        """Returns image i as uint8 (H, W, 3).

        Raises:
            BadImage: a file that cannot be read.
            UserError: an array of another shape or dtype.
        """
        image = self.images[index]
        if isinstance(image, Image.Image):
            return image_to_rgb(image, self.profiles)
        if not isinstance(image, np.ndarray):
            return decode_image(image, min_side, profiles=self.profiles)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(
                f"image {index} is an array {image.dtype}{image.shape}; give uint8 (H, W, 3)"
            )
        return image


@dataclasses.dataclass(frozen=True)
class Run:
    """The description of a run in its workdir, without the weights.

    Attributes:
        workdir: of the run.
        config: the run's, locked.
        class_names: (K,) in the order of the logits.
        transform: from an image to the network's input, as in evaluation.
        splits: of the training: the number of examples and the fingerprint by split.
        arithmetic: of the training: see `arithmetic.choose`.
        network: `apply(variables, images)` gives (logits, stages).
    """

    workdir: Path
    config: ConfigDict
    class_names: tuple[str, ...]
    transform: Transform
    splits: dict[str, dict[str, Any]]
    arithmetic: arithmetic.Arithmetic | None
    network: nn.Module


@dataclasses.dataclass(frozen=True)
class Trained(Run):
    """The best weights of a run with all that is needed to use them.

    Attributes:
        step: of the weights.
        variables: params and, where the network has norms, batch_stats; on every device.
        mesh: the devices that predictions run on.
    """

    step: int
    variables: dict[str, Any]
    mesh: Mesh

    def predict(self, images: Sequence[Picture]) -> Iterator[Prediction]:
        """Yields the prediction for each image, in order, by the transform of evaluation.

        Images are read in threads and never all held in memory. With several views of an image, the
        log-probabilities are averaged over them, and the probabilities then made to sum to 1.

        Args:
            images: paths, PIL images or uint8 arrays (H, W, 3).

        Raises:
            UserError: an image that cannot be read; it is named.
        """
        for log_probabilities in self._run(self.classify, images, BATCH, mean_log_probabilities):
            for row in log_probabilities:
                best = int(row.argmax())
                p = np.exp(row)
                yield Prediction(self.class_names[best], float(p[best]), p)

    def features(self, images: Sequence[Picture], stage: str = "pre_logits") -> np.ndarray:
        """Returns a stage of the network for each image: (N, C), or (N, H, W, C) of a map.

        With several views of an image, it is their mean.

        Args:
            images: as of `predict`.
            stage: any stage that the network names.

        Raises:
            UserError: as `predict`, or there is no such stage.
        """

        def run(variables: dict[str, Any], images: jax.Array) -> jax.Array:
            x = normalise(images, self.transform)
            _, stages = self.network.apply(variables, x, train=False)
            if stage not in stages:
                raise UserError(f'this network has no stage "{stage}"{nearest(stage, stages)}')
            return stages[stage]

        return np.concatenate(list(self._run(self._jitted(run), images, BATCH)))

    def explain(
        self, images: Sequence[Picture], class_name: str | None = None, stage: str | None = None
    ) -> np.ndarray:
        """Returns Grad-CAM maps (N, H, W) of at least float32; see `gradcam.grad_cam`.

        They explain the centred square, also where predictions rest on several views.

        Args:
            images: as of `predict`.
            class_name: the class that is explained; by default the predicted one of each image.
            stage: the map to look at; by default the network's last.

        Raises:
            UserError: as `predict`, or there is no such class or stage.
        """
        if class_name is not None and class_name not in self.class_names:
            raise UserError(f'no class "{class_name}"{nearest(class_name, self.class_names)}')
        chosen = choose_stage(self.network, self.transform.size, stage)

        def run(variables: dict[str, Any], images: jax.Array) -> jax.Array:
            x = normalise(images, self.transform)
            if class_name is None:
                classes = self.network.apply(variables, x, train=False)[0].argmax(axis=-1)
            else:
                classes = jnp.full(len(x), self.class_names.index(class_name))
            return grad_cam(self.network, variables, x, classes, stage=chosen)

        centred = dataclasses.replace(self.transform, views="centre")
        centred_self = dataclasses.replace(self, transform=centred)
        return np.concatenate(list(centred_self._run(self._jitted(run), images, EXPLAIN_BATCH)))

    @cached_property
    def classify(self) -> Callable[[ArrayLike], jax.Array]:
        """Maps uint8 (B, S, S, 3), by `transform.view`, to log-probabilities (B, K); jitted.

        B is a multiple of the number of devices.
        """
        return make_forward(self.network, self.transform, self.mesh)(self.variables)

    @cached_property
    def answers(self) -> Callable[[ArrayLike], tuple[jax.Array, jax.Array]]:
        """Maps uint8 (B, S, S, 3) to log-probabilities (B, K) and features (B, C), float32.

        Jitted, see `make_forward`; B is a multiple of the number of devices. The squares are of
        `transform.view`, or of `transform.tiles`, whose results the caller averages over an image.
        """
        return make_forward(self.network, self.transform, self.mesh, features=True)(self.variables)

    def _jitted(self, run: Callable[..., jax.Array]) -> Callable[[jax.Array], jax.Array]:
        whole, split = sharding.replicated(self.mesh), sharding.batch_sharding(self.mesh)
        jitted = jax.jit(
            run,
            in_shardings=(whole, split),
            out_shardings=whole,
            compiler_options=self.network.target.compiler_options,
        )
        return partial(jitted, self.variables)

    def _run(
        self,
        function: Callable[[jax.Array], jax.Array],
        images: Sequence[Picture],
        batch_size: int,
        mean: Callable[[np.ndarray], np.ndarray] = mean_of_views,
    ) -> Iterator[np.ndarray]:
        """Yields function's results (B, ...) for the images of each batch."""
        return stream(
            function,
            Pictures(images, self.transform.colour_profiles),
            self.transform,
            self.mesh,
            batch_size=batch_size,
            threads=self.config.data.threads,
            mean=mean,
        )


def read_run(workdir: str | os.PathLike[str]) -> Run:
    """Returns the description of the run in a workdir. Raises UserError where there is none."""
    folder = Path(expanded(workdir))
    config, inputs = description.load_config(folder), description.load_inputs(folder)
    class_names = tuple(inputs["class_names"])
    return Run(
        workdir=folder,
        config=config,
        class_names=class_names,
        transform=Transform.from_json(inputs["transform"]),
        splits=inputs["splits"],
        arithmetic=inputs.get("arithmetic"),
        network=configured_model(config.model, len(class_names)),
    )


def restore(run: Run, mesh: Mesh) -> Trained:
    """Returns the run with its best weights, on every device of the mesh.

    Raises:
        UserError: no checkpoint was evaluated, or it is damaged or of another network.
    """
    step = checkpoint.best_step(run.workdir)
    if step is None:
        raise UserError(f"{run.workdir} has no evaluated checkpoint yet; train it first")
    size = run.transform.size
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    target = sharding.abstract(jax.eval_shape(run.network.init, jax.random.key(0), images), mesh)
    variables, _ = checkpoint.restore(run.workdir, step, target)
    fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    chosen = arithmetic.choose(run.config, mesh, run.arithmetic)
    fields["network"] = arithmetic.placed(run.network, mesh, chosen)
    return Trained(**fields, step=step, variables=variables, mesh=mesh)


def load(workdir: str | os.PathLike[str], *, mesh: Mesh | None = None) -> Trained:
    """Returns the best weights of the run in a workdir.

    Args:
        workdir: of a run that was evaluated at least once.
        mesh: the devices to run on; by default all of this process's.

    Raises:
        UserError: there is no run or no evaluated checkpoint, or it is damaged.
    """
    return restore(read_run(workdir), runtime.default_mesh() if mesh is None else mesh)
