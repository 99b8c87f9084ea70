"""Training, sampling and evaluating from Python: what the command line does, as methods of a model.

Everything heavy is imported when it is used, so that loading a model and sampling from it stay quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from molgen.data.prepare import TrainingData
    from molgen.dataset import Dataset
    from molgen.domain import Invalid, Item, KnownPart
    from molgen.evaluation.evaluate import Figure
    from molgen.inference.pictures import Rows, Samples
    from molgen.model.generative_model import GenerativeModel
    from molgen.model.sampling import Scored
    from molgen.model.stages import Model
    from molgen.training.config import TrainingConfig
    from molgen.training.python_run import FitReport
    from molgen.training.trainer import Progress

    Data = Iterable[Item] | str | Path | Dataset | TrainingData


class SampledRows:
    """What all that draws and scores samples can do: `sample_rows`, `sample_items`, `sample_table`, `log_density`."""

    @property
    def _sampled(self) -> Model:
        return self  # type: ignore[return-value] # only the classes that it names have these methods

    def sample_rows(
        self,
        count: int,
        *,
        accept: Sequence[str] = (),
        properties: Sequence[str] = (),
        seed: int = 0,
        condition: Mapping[str, float | str] | None = None,
        known: Item | KnownPart | None = None,
        given: Sequence[Item | Invalid] | None = None,
        batch_size: int = 1024,
        workers: int | None = None,
        **options: Any,
    ) -> Rows:
        """Samples that the domain has inspected, one `inference.request.Row` each, as `molgen generate` makes them.

        A notebook shows the list as pictures with log-densities, and that of `sample_items` as pictures.

        Args:
            count: how many samples; where `accept` names something, how many that meet it.
            accept: of `valid`, `unique`, `novel` and `filters`, what each must be; without it every sample is a row.
            properties: names of properties to compute.
            seed: of all randomness.
            condition: what is asked for, by name.
            known: what every sample has; an item but for a part is `model.filling.around(model.encoder, item, fill)`.
            given: items of which the model draws the rest: one for each sample, and after the last the first again.
            batch_size: samples at a time.
            workers: processes that inspect; by default as many as the usable processors.
            **options: of the family, such as `temperature`.

        Raises:
            UsageError: the model cannot do what is asked for.
            PartialFailure: nearly no sample is acceptable.
        """
        from molgen.inference.generate import Generation
        from molgen.inference.pictures import Rows
        from molgen.inference.request import Request
        from molgen.workers.inspector import Inspector, chosen_properties

        request = Request(count, tuple(accept), seed, batch_size, dict(condition or {}), known, options, given=given)
        names = chosen_properties(self._sampled.domain, list(properties)) if properties else []
        with Inspector(self._sampled.domain, names, "filters" in request.accept, workers) as inspector:
            return Rows(Generation(self._sampled, request, inspector).rows(), self._sampled.domain)

    def sample_items(self, count: int, **how: Any) -> Samples[Item]:
        """As many valid items in canonical form; see `sample_rows` for what else can be asked for.

        Example:
            >>> from molgen import GenerativeModel
            >>> model = GenerativeModel.load("moses")
            >>> len(model.sample_items(3, seed=1, accept=("valid", "unique")))
            3
        """
        from molgen.inference.pictures import Samples

        accept = tuple(how.pop("accept", ()))
        rows = self.sample_rows(count, accept=("valid", *accept), **how)
        return Samples((row.item for row in rows), rows.domain)

    def sample_table(self, count: int, *, properties: Sequence[str] = (), **how: Any) -> pa.Table:
        """Samples as a `pyarrow.Table` with density, status and properties; `.to_pandas()` where pandas is installed.

        Takes what `sample_rows` takes. The columns are those of `molgen generate`; an item that is no text, such as a
        picture, is left out of the table.

        Example:
            >>> from molgen import GenerativeModel
            >>> table = GenerativeModel.load("moses").sample_table(3, seed=1, properties=["logp"])
            >>> table.column_names[0], table.num_rows
            ('smiles', 3)
        """
        import pyarrow as pa

        rows = self.sample_rows(count, properties=properties, **how)
        columns = [row.columns(self._sampled.domain.column, properties) for row in rows]
        plain = [{name: value for name, value in row.items() if _is_plain(value)} for row in columns]
        names = [name for name in columns[0] if any(name in row for row in plain)]
        return pa.table({name: [row.get(name) for row in plain] for name in names})

    def log_density(
        self,
        items: Sequence[Item],
        *,
        batch_size: int = 1024,
        condition: Mapping[str, Any] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> list[Scored]:
        """log p of each item in nats, in the order of the items; the kind says what the number means."""
        require_items(items)
        model = self._sampled
        encoded = [model.encoder.encode(item) for item in items]
        return model.log_density_of(encoded, batch_size=batch_size, condition=condition, seed=seed, **options)


class Workflow(SampledRows):
    """What a model can do from data to figures: `fit`, `sample_items`, `sample_table`, `evaluate`."""

    #: what `fit` left out, and why; None before it.
    fit_report: FitReport | None = None

    @property
    def _model(self) -> GenerativeModel:
        return self  # type: ignore[return-value] # it is the only class that has these methods

    def fit(
        self,
        data: Data,
        *,
        conditions: Sequence[str] | Mapping[str, Sequence[Any]] | None = None,
        column: str | None = None,
        training: TrainingConfig | None = None,
        output: str | Path | None = None,
        device: str = "auto",
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        **settings: Any,
    ) -> GenerativeModel:
        """Train on data, as `molgen train` does: items are made canonical, repeated ones are left out.

        A model that has weights already is tuned. Nothing is printed; `fit_report` says afterwards which rows were
        left out and why.

        Example:
            >>> from molgen import GenerativeModel
            >>> from molgen.config import Part
            >>> model = GenerativeModel(
            ...     "molecules.smiles", backbone=Part("recurrent", {"width": 8, "layers": 1, "embedding": 4})
            ... )
            >>> model = model.fit(["CCO", "OCC", "CCN", "c1ccccc1", "no molecule"], steps=2, batch_size=2, validation=0)
            >>> model.fit_report.items, [row.reason for row in model.fit_report.rejected][:1]
            (3, ['equal to an earlier row'])

        Args:
            data: items, a file or folder that the domain reads, the name of a data set, a `Dataset`, or `TrainingData`.
            conditions: what can be asked for later: names of columns or of properties that the domain computes; beside
                items, a mapping from names to a value for each item. Text becomes classes.
            column: of the file that holds the items; found by its usual names without it.
            training: all settings of the training; or give single ones by name, such as `steps=2000`, `batch_size=64`,
                `validation=0.1` or `seed=1`.
            output: the folder of the run, with the finished model, the state to resume from and metrics; without it
                nothing stays on disk.
            device: `auto`, `cpu`, `cuda`, ...
            resume: go on with the run in `output`, if there is one.
            progress: called with a `training.trainer.Progress` after each step; an exception that it raises ends the
                run after a save.
            **settings: single settings of the training.

        Returns:
            This model.

        Raises:
            UsageError: no item can be used, or a setting or a condition is wrong.
            TrainingError: the loss is no longer finite.
        """
        from molgen.training.python_run import fit_model

        run = (column, training, settings, output, device, resume)
        return fit_model(self._model, data, conditions, *run, progress=progress)

    def evaluate(
        self,
        reference: str | Path | Sequence[Item],
        *,
        count: int = 10_000,
        training: str | Path | Sequence[Item] | None = None,
        metrics: Sequence[str] = (),
        items: Iterable[Item] | None = None,
        seed: int = 0,
        device: str = "auto",
        workers: int | None = None,
        **options: Any,
    ) -> dict[str, Figure]:
        """The metrics of samples of this model, or of given items, against a reference set; by their labels.

        Args:
            reference: the name of a data set (or NAME:SPLIT), a file, or items.
            count: how many samples to evaluate.
            training: what the model learned from, for novelty; by default the training split of the data set.
            metrics: names of suites and metrics; by default the usual ones of the domain.
            items: evaluate these instead of samples.
            seed: of samples and intervals.
            device: where feature networks run.
            workers: processes that inspect.
            **options: of the family, when sampling.

        Raises:
            UsageError: a set or a metric does not exist.
        """
        from molgen.evaluation.python_run import evaluate_model

        sets = (reference, training, items)
        return evaluate_model(self._model, *sets, count, metrics, seed, device, workers, options)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def require_items(items: Any) -> None:
    """See that items are several, and no single text, whose letters would be taken for items.

    Raises:
        UsageError: they are one text, or something that holds no items.
    """
    if isinstance(items, str | bytes):
        raise UsageError(f"expected a list of items, not the single text {items!r}; write [{items!r}]")
    if not hasattr(items, "__len__") or type(items).__module__.startswith("torch") or isinstance(items, Mapping):
        raise UsageError(
            f"expected a list of items, not {type(items).__name__}; tensors are for `model.family`, see its methods"
        )
