"""Commands that measure this machine: how fast the networks are, and how much the service bears."""

from datetime import datetime
from typing import Annotated

import typer

from metseg.base.files import shown
from metseg.cli.app import (
    Models,
    OutputDir,
    app,
    named_models,
    progress_bars,
    runs_folder,
    say_networks,
)

benchmark = typer.Typer(help="Measure this machine.", no_args_is_help=True)
app.add_typer(benchmark, name="benchmark")


@benchmark.command()
def speed(
    scope: Annotated[
        str,
        typer.Option(help="full: all, in about an hour; short: no scaling, a quarter of that; tiny: a look."),
    ] = "full",
    rounds: Annotated[int | None, typer.Option(min=1, help="Turns of each contestant.")] = None,
    run_name: Annotated[
        str | None, typer.Option(help="Name of the run; benchmark-<time>, or the one that was interrupted.")
    ] = None,
    output_dir: OutputDir = None,
) -> None:
    """Measure training, inference, memory and growth beside Keras, ONNX Runtime and MONAI, in one run."""
    from metseg.benchmark.plan import settings_of
    from metseg.benchmark.report import read_benchmark, write_report
    from metseg.benchmark.run import run_benchmark, unfinished_benchmark

    settings = settings_of(scope, rounds=rounds)
    runs_dir = runs_folder(output_dir)
    new = runs_dir / (run_name or f"benchmark-{datetime.now():%Y%m%d-%H%M%S}")
    folder = new if run_name else unfinished_benchmark(runs_dir, settings) or new
    with progress_bars() as bars:
        bar = bars.add_task("Measuring", total=None)
        run_benchmark(
            settings,
            folder,
            on_progress=lambda text, k, n: bars.update(bar, description=text, completed=k, total=n),
        )
    finished = read_benchmark(folder)
    print(finished.headline().round(3).to_string(index=False))
    if len(finished.scaling):
        print(finished.scaling.round(2).to_string(index=False))
    print(*finished.notes, sep="\n")
    write_report(finished, folder)
    print(f"Tables and figures: {shown(folder)}")


@benchmark.command()
def service(
    clients: Annotated[int, typer.Option(min=1, help="That send at once.")] = 16,
    requests: Annotated[int, typer.Option(min=1, help="All together.")] = 2000,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the service.")] = 1,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Instead of requests: clients of all kinds, rude ones too, for so long."),
    ] = None,
    model: Models = None,
    output_dir: OutputDir = None,
) -> None:
    """Start the service, send it phantom slices, and report latencies, errors and memory."""
    import json

    from metseg.serve.service.load import measure_load
    from metseg.serve.service.soak import measure_soak

    models = named_models(model, output_dir)
    say_networks(models, output_dir, stderr=True)  # stdout is JSON
    both = {"clients": clients, "workers": workers}
    with progress_bars() as bars:
        bar = bars.add_task("Segmenting", total=60 * minutes if minutes else requests)
        if minutes:
            told = lambda gone: bars.update(bar, completed=gone)  # noqa: E731
            figures = measure_soak(models, seconds=60 * minutes, on_second=told, **both)
        else:
            figures = measure_load(models, requests=requests, on_answer=lambda: bars.advance(bar), **both)
    print(json.dumps(figures, indent=1))
