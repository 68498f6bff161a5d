"""The serve command: `python -m nmt.serve checkpoint=RUN` translates over HTTP, for programs and web browsers."""

import logging
import resource
import signal
import sys
from dataclasses import replace

from nmt import build
from nmt.cli import run_command
from nmt.config.schema import ServeConfig
from nmt.runtime.device import Device
from nmt.server.languages import Directions
from nmt.server.model_thread import ModelThread
from nmt.server.models import PairModel

log = logging.getLogger("nmt")


def main(config: ServeConfig, _overrides: list[str]) -> None:
    try:
        from nmt.server.app import create_app
        from nmt.server.handlers import Handlers
        from nmt.server.listening import bind, listen
    except ImportError as error:
        raise ValueError(f"the server needs {error.name}: pip install 'attention-nmt[serve]'") from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # a stop by a service manager is no failure
    _allow_connections()
    with bind(config.host, config.port) as bound:
        device = build.start(config)
        models = [_load(run, config, device) for run in config.runs]
        directions, limits = Directions(models), config.limits
        log.info(device.reason)
        batch_size = max(each.batch_size for each in models)
        with ModelThread(batch_size=batch_size, max_waiting=limits.waiting) as thread:
            app = create_app(Handlers(directions, thread, limits))
            listen(app, bound, idle_seconds=limits.idle_seconds, grace_seconds=limits.seconds)


def _load(run: str, config: ServeConfig, device: Device) -> PairModel:
    loaded = build.load(run, device.device)
    decode = build.decoding_of(loaded, config.decode)
    src, tgt = build.languages(loaded.config.data)
    log.info(f"{src} to {tgt}: {loaded.folder}")
    calibration = build.calibration_of(loaded)
    if calibration is None:
        log.info(build.why_uncalibrated(loaded))
    return PairModel(
        (src, tgt),
        loaded.model,
        loaded.tokenizer,
        replace(decode, nbest=decode.beam),
        batch_size=decode.batch_size,
        autocast=device.autocast,
        calibration=calibration,
        head=loaded.head,
    )


def _allow_connections() -> None:
    """Raises the limit on open files to the hard limit, for many connections at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    run_command("serve", main, ServeConfig)
