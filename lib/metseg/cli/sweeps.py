"""The command that runs a sweep."""

from pathlib import Path
from typing import Annotated

import typer

from metseg.cli.app import app


@app.command()
def sweep(
    spec: Annotated[Path, typer.Argument(metavar="SWEEP.YML", help="Networks, parameters, values, seeds.")],
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trials at once; as many as GPUs or half the cores if left out.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="A Dask scheduler; its workers run the trials."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Optuna's ledger, as postgresql://…; a file if left out."),
    ] = None,
    results: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where workers without a common disk leave trials, as s3://bucket/x."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Run failed trials again; unfinished ones go on in any case.")
    ] = False,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where sweeps are kept; outputs/sweeps if left out.")
    ] = None,
) -> None:
    """Train networks with many settings; give the same command again to go on where it stopped."""
    from metseg.base.files import shown, write_text
    from metseg.base.paths import project_root, sweeps_dir
    from metseg.workbook.parameters import edits_told
    from metseg.workbook.sweep.plan import Plan
    from metseg.workbook.sweep.spec import read_spec

    plan = Plan(read_spec(spec), project_root() / "notebooks")
    folder = (output_dir.resolve() if output_dir else sweeps_dir()) / plan.spec.name
    for line in (*edits_told(plan.notebooks.values()), *plan.notes):
        print(line, flush=True)

    from metseg.workbook.sweep.cluster import has_dashboard
    from metseg.workbook.sweep.run import run_sweep
    from metseg.workbook.sweep.storage import study_url, without_password
    from metseg.workbook.sweep.table import RESULTS, command_of
    from metseg.workbook.sweep.view import SweepView

    def say_where(client) -> None:
        write_text(folder / "sweep.yml", spec.read_text(encoding="utf-8"))
        print(f"{plan.spec.name}: {plan.count} trials; table: {shown(folder / RESULTS)}", flush=True)
        print(f"Ledger: optuna-dashboard '{without_password(storage or study_url(folder))}'", flush=True)
        if has_dashboard():
            print(f"Workers: {client.dashboard_link}", flush=True)

    with SweepView() as view:
        where = {"scheduler": scheduler, "storage": storage, "results": results}
        table = run_sweep(
            plan, folder, jobs=jobs, failed_too=resume, **where, on_start=say_where, on_change=view
        )
    counts = table.state.value_counts()
    print(f"\n{', '.join(f'{count} {state}' for state, count in counts.items())}; {shown(folder / RESULTS)}")
    if len(table) < plan.count:
        print(f"Fewer than {plan.count}: the search found no other points, or a first seed failed")
    done = table[table.state == "done"]
    if len(done):
        best = done.loc[done.validation_dice.idxmax()]
        print(f"Best by validation Dice, which flatters: {best.trial}, {best.validation_dice:.3f}")
        print(command_of(plan, best))
    if counts.get("failed"):
        print(f"{counts['failed']} failed, see the column reason; --resume runs them again")
        raise typer.Exit(1)
