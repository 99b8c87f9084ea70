"""`molgen train`: from a file or a data set to a trained model, in a folder that can be resumed."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError
from molgen_cli.arguments import take_settings_anywhere
from molgen_cli.console import say, warn
from molgen_cli.signals import Terminated

if TYPE_CHECKING:
    from molgen.config import Part
    from molgen.data.prepare import TrainingData
    from molgen.data.source import RowSource
    from molgen.data.store import Store
    from molgen.family import Family
    from molgen.model.generative_model import GenerativeModel
    from molgen.training.config import TrainingConfig
    from molgen_cli.settings import Composition
    from molgen_cli.train_progress import View

EPILOG = """settings:
  family=NAME encoder=NAME backbone=NAME dataset=NAME   parts by their names (molgen plugins list)
  encoder.max_length=100 training.steps=20000           a setting of a part, or of the training
  conditions=[qed,target,label:class]                   columns or properties to ask for later; text is taken for
                                                        classes, and so are numbers before :class
  +experiment=moses                                     a preset; what is typed beside it wins

examples:
  molgen train dataset=moses training.steps=20000 backbone.width=512 --output run
  molgen train --from moses --data actives.csv --column smiles --output tuned
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="settings, see below")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder of the run (default: runs/DATA-FAMILY)")
    parser.add_argument(
        "--from", dest="base", metavar="MODEL", help="tune this model: a folder or an embedded model's name"
    )
    parser.add_argument("--data", metavar="FILE", help="your own file or folder, instead of dataset=NAME")
    parser.add_argument("--column", metavar="NAME", help="the column of --data that holds the items")
    parser.add_argument("--input-format", metavar="NAME", help="format of --data, where its name does not say it")
    parser.add_argument("--config", metavar="FILE", help="settings of another run, its config.yaml; what is typed wins")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with the run in the folder, if there is one")
    existing.add_argument("--overwrite", action="store_true", help="start the run in the folder anew")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--show-config", action="store_true", help="print the whole configuration and stop")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress and no summary")
    take_settings_anywhere(parser)


def run(args: argparse.Namespace) -> int:
    """Train, and say where the model is."""
    from molgen.model.generative_model import GenerativeModel
    from molgen_cli.arguments import warn_if_unfinished
    from molgen_cli.overrides import typed
    from molgen_cli.settings import composed

    if args.config:
        _take_configuration(args)
    base = GenerativeModel.load(args.base) if args.base else None
    if base is not None:
        warn_if_unfinished(args.base, base)
    composition = _composed(args) if base is None else composed(args.settings, base.config)
    if args.data:
        if typed(args.settings, "dataset"):
            raise UsageError("both --data and dataset= say what to learn from; type one of them")
        composition = replace(composition, dataset=None)  # that of a preset, which serves other data too
    if args.show_config:
        from molgen_cli.run_folder import as_yaml

        print(as_yaml(_configuration(args, composition)), end="")
        return 0
    Run(args, composition, base).train()
    return 0


def _take_configuration(args: argparse.Namespace) -> None:
    """Put the settings of another run before those that are typed."""
    from molgen_cli.overrides import overruled, typed
    from molgen_cli.settings import from_file

    settings, source = from_file(Path(args.config))
    args.base = args.base or source["from"]
    if not args.data and not typed(args.settings, "dataset"):
        args.data, args.column = source["data"], args.column or source["column"]
        args.input_format = args.input_format or source["input_format"]
    if args.data:
        settings = [setting for setting in settings if not typed([setting], "dataset")]
    if args.base:
        tunable = ("training.", "encoder.", "conditions=")
        settings = [setting for setting in settings if setting.startswith(tunable)]
    args.settings = [*overruled(settings, args.settings), *args.settings]


def _composed(args: argparse.Namespace) -> Composition:
    """The settings of a new model; what nobody types follows from the data."""
    from molgen.data.tables import reopenable
    from molgen.model.trained import named_configurations
    from molgen_cli.domains import encoder_for, fitting_settings, recognised
    from molgen_cli.overrides import typed
    from molgen_cli.settings import composed, dataset_domain

    if args.data and Path(args.data).exists():
        args.data = str(reopenable(Path(args.data)))
    settings = list(args.settings)
    if not typed(settings, "encoder", "experiment"):
        domain = recognised(Path(args.data)) if args.data else dataset_domain(settings)
        settings += [f"encoder={encoder_for(domain)}"] if domain else []
    composition = composed(settings)
    if inside := named_configurations(composition.model.family):
        return _reading_samples_as(next(iter(inside.values())).encoder, args.settings, settings)
    fitting: Mapping[str, Any] = {}
    if args.data and Path(args.data).exists():
        fitting = fitting_settings(composition.model.encoder.name, Path(args.data), args.column, args.input_format)
        composition = composed(settings, fitting=fitting) if fitting else composition
    if typed(settings, "training.batch_size", "experiment"):
        return composition
    batch = _fitting_batch(composition)
    return composed([*settings, *batch], fitting=fitting) if batch else composition


def _fitting_batch(composition: Composition) -> list[str]:
    """The items of a training step as a setting, where their size asks for another number than usual."""
    from molgen.backbone import fitting_batch_size
    from molgen.config import part_class
    from molgen.model.generative_model import GenerativeModel

    parts, usual = composition.model, composition.training["batch_size"]
    causal: bool = part_class("family", parts.family.name).causal
    space = GenerativeModel(parts.encoder, parts.family, parts.backbone).encoder.space
    size = fitting_batch_size(space, causal, usual)
    return [] if size == usual else [f"training.batch_size={size}"]


def _reading_samples_as(encoder: Part, asked: Sequence[str], settings: Sequence[str]) -> Composition:
    """The settings of a model over a trained one, whose encoder it has unless another one is typed."""
    from molgen_cli.overrides import typed
    from molgen_cli.settings import composed

    if not typed(asked, "encoder"):
        settings = [*(one for one in settings if not typed([one], "encoder")), f"encoder={encoder.name}"]
    composition = composed(settings)
    same = composition.model.encoder.name == encoder.name
    return composed(settings, fitting=encoder.settings) if same else composition


class Run:
    """One training run: its parts, its folder and what it leaves there.

    Raises:
        UsageError: the request is wrong, or the folder may not be used.
    """

    def __init__(self, args: argparse.Namespace, composition: Composition, base: GenerativeModel | None) -> None:
        from molgen.model.devices import resolve_device
        from molgen.training.config import TrainingConfig
        from molgen.training.run import TrainingRun
        from molgen_cli.arguments import warn_if_unfinished

        self.args, self.composition = args, composition
        parts, device = composition.model, resolve_device(args.device)
        self.config: TrainingConfig = TrainingConfig(**composition.training)
        self.model = base.with_encoder(parts.encoder, parts.conditions) if base else self._fresh()
        if self.config.private and base:
            _require_private(self.model.family)
        for name, trained in self.model.trained.items():
            warn_if_unfinished(parts.family.settings[name], trained)
        source = _source(args, composition, self.model)
        self.run = TrainingRun(self.model, source, self.config, device, composition.classes)
        assert self.run.source is not None
        self.source = self.run.source  # with the classes of its conditions
        for note in self.source.notes:
            say(note, quiet=args.quiet)
        self.folder = Path(args.output or _default_output(self.source, composition, args.base))
        self.started = time.time()
        self.rejected = 0

    def _fresh(self) -> GenerativeModel:
        from molgen.model.generative_model import GenerativeModel

        parts = self.composition.model
        # Whether the parts fit together is known at once, not after the data are encoded.
        family = GenerativeModel(parts.encoder, parts.family, parts.backbone).build()
        if self.config.private:
            _require_private(family)
        network = None if self.composition.default_network else parts.backbone
        return GenerativeModel(parts.encoder, parts.family, network, parts.conditions)

    def train(self) -> None:
        """Train to the end, or to a signal, and record it."""
        from molgen_cli import run_folder as runfolder

        if self.args.base and not self.args.resume and _within(Path(self.args.base), self.folder):
            raise UsageError(f"{self.folder} holds the model to start from; choose another --output")
        with runfolder.claimed(self.folder, resume=self.args.resume, overwrite=self.args.overwrite):
            runfolder.write_configuration(self.folder, _configuration(self.args, self.composition))
            data = self._trained()
        self._say_result(data)

    def _trained(self) -> TrainingData:
        from molgen_cli.train_progress import View

        with View(self.args.quiet) as view:
            data: TrainingData | None = None
            try:
                data = self._data(view)
                self._fit(data, view)
            except BaseException as error:
                with suppress(OSError):  # such as a full disk, which must not hide what happened
                    self._record(data, view, error)
                self._say_how_to_go_on(view, error)
                raise
        self._record(data, view, None)
        return data

    def _data(self, view: View) -> TrainingData:
        self._say(f"checking the items of {self.source.name}")
        bar = view.begin("checking", self.source.count)
        data = self.run.prepare(bar.advance)
        view.end()
        keys = data.keys
        assert keys is not None
        if self.args.base:
            data.card = {**data.card, "tuned from": _description(self.args.base, self.model)}
            self.model.info.pop("title", None)
        self._say(
            "the model will carry no keys of training items, so it cannot say what is novel: training is private"
            if self.config.private
            else f"{keys.count:,} keys of training items, by which {keys.false_positive_rate:.2%} of novel items "
            "will be taken for known"
        )
        return data

    def _fit(self, data: TrainingData, view: View) -> None:
        from molgen.training.fit import Watcher

        view.begin("encoding", self.source.count)
        watcher = Watcher(view.encoded, lambda store: self._stored(store, view), view.show, warn)
        self.run.fit(data, self.folder, self.args.resume, watcher)

    def _stored(self, store: Store, view: View) -> None:
        from molgen.data.prepare import rejected_records
        from molgen_cli.run_folder import REJECTED, write_configuration, write_rejected

        view.end()
        if (network := self.model.config.backbone) != self.composition.model.backbone:
            self._say(f"the network for samples of this size is {network.name}")
            self.composition = replace(self.composition, model=replace(self.composition.model, backbone=network))
            write_configuration(self.folder, _configuration(self.args, self.composition))
        self.rejected = sum(store.rejected.values())
        self._say(f"{self.source.name}: {len(store):,} items to learn from, {self.rejected:,} left out")
        for source, count in store.provenance.items():
            self._say(f"  {count:,} of them: {source}")
        if self.rejected:
            summary = write_rejected(self.folder, rejected_records(self.source, store.rejections()))
            self._say(f"{summary}\n  all of them with their reasons: {self.folder / REJECTED}")

    def _record(self, data: TrainingData | None, view: View, stopped: BaseException | None) -> None:
        from molgen.versions import versions
        from molgen_cli import run_folder as runfolder

        last = view.last
        runfolder.write_record(
            self.folder,
            {
                "command": shlex.join(["molgen", "train", *_arguments(self.args)]),
                "complete": stopped is None,
                "stopped": None if stopped is None else str(stopped) or type(stopped).__name__,
                "configuration": _configuration(self.args, self.composition),
                "seed": self.config.seed,
                "data": {"name": self.source.name, "digest": data.digest if data else None, "rejected": self.rejected},
                "step": last.step if last else None,
                "result": self.model.info.get("training") if stopped is None else None,
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
                "ended": runfolder.now(),
                "seconds": round(time.time() - self.started, 1),
                "device": self.run.device,
                "hardware": runfolder.hardware(),
                "versions": versions(),
            },
        )

    def _say_how_to_go_on(self, view: View, error: BaseException) -> None:
        if not isinstance(error, KeyboardInterrupt | Terminated):
            return
        if view.last is None:
            self._say("stopped before the first step")
            return
        again = [argument for argument in _arguments(self.args) if argument not in ("--resume", "--overwrite")]
        command = shlex.join(["molgen", "train", *again, "--resume"])
        self._say(f"stopped after step {view.last.step:,}; the state is saved. To go on, type:\n  {command}")

    def _say_result(self, data: TrainingData | None) -> None:
        from molgen.training.fit import held_out_loss
        from molgen_cli.asked import needed_conditions

        privacy = self.model.info["training"].get("privacy")
        if privacy:
            self._say(f"differential privacy of the weights: {privacy}; README.md of the model says what that covers")
        needed = needed_conditions(self.model, self.config.condition_dropout)
        words = [*map(shlex.quote, ("molgen", "generate", "--model", str(self.folder))), *needed]
        output = self.model.encoder.usual_output or self.model.domain.usual_output
        self._say(
            f"the model is in {self.folder / 'model'}; held-out loss: {held_out_loss(self.model.info['training'])}. "
            f"To generate with it, type:\n  {' '.join(words)} --count 1000 --output {output}"
        )

    def _say(self, text: str) -> None:
        say(text, quiet=self.args.quiet)


def _require_private(family: Family) -> None:
    from molgen.training.private_steps import require_private

    require_private(family)


def _source(args: argparse.Namespace, composition: Composition, model: GenerativeModel) -> RowSource:
    from molgen.data.source import dataset_source, file_source, known_datasets

    if args.data:
        return file_source(Path(args.data), model.domain, args.column, args.input_format)
    if args.column:
        raise UsageError("--column is for a file; type --data FILE as well")
    if args.input_format:
        raise UsageError("--input-format is for a file; type --data FILE as well")
    if composition.dataset:
        return dataset_source(composition.dataset, model.config.domain)
    raise UsageError(f"nothing says what to learn from; type dataset=NAME ({known_datasets()}) or --data FILE")


def _within(path: Path, folder: Path) -> bool:
    return path.exists() and path.resolve().is_relative_to(folder.resolve())


def _default_output(source: RowSource, composition: Composition, base: str | None) -> Path:
    return Path("runs") / f"{source.name}-{'tuned' if base else composition.model.family.name}"


def _description(name: str, model: GenerativeModel) -> str:
    data = model.info.get("data", {})
    licence = f", licence: {data['licence']}" if "licence" in data else ""
    return f"{name} (trained on {data.get('name', 'unknown data')}{licence})"


def _configuration(args: argparse.Namespace, composition: Composition) -> dict[str, Any]:
    source = {"from": args.base, "data": args.data, "column": args.column, "input_format": args.input_format}
    return {**source, **composition.to_json()}


def _arguments(args: argparse.Namespace) -> Sequence[str]:
    """The arguments of the command line as they could be typed again."""
    named = [("--output", args.output), ("--from", args.base), ("--data", args.data), ("--column", args.column)]
    named.append(("--input-format", args.input_format))
    device = [] if args.device == "auto" else ["--device", args.device]
    flags = [f"--{name}" for name in ("resume", "overwrite", "quiet") if getattr(args, name)]
    return [*args.settings, *(word for name, value in named if value for word in (name, value)), *device, *flags]
