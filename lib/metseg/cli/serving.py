"""Commands that serve the released models: the dashboard and the service."""

from pathlib import Path
from typing import Annotated

import typer

from metseg.cli.app import Models, OutputDir, PhantomNetwork, app, named_models, say_networks

Token = Annotated[
    str | None,
    typer.Option(
        envvar="METSEG_TOKEN",  # where no list of processes shows it
        help="What a visitor must bring, 16 characters or more; made up beyond localhost.",
    ),
]
AllowedHosts = Annotated[
    list[str] | None, typer.Option("--allowed-host", help="A name that it goes by; may be repeated.")
]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")]


@app.command()
def dashboard(
    model: Models = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8866,
    token: Token = None,
    visitors: Annotated[int, typer.Option(min=1, help="At a time; each holds a kernel.")] = 8,
    preheat: Annotated[int, typer.Option(min=0, help="Kernels that wait for visitors.")] = 1,
    idle_minutes: Annotated[
        float, typer.Option(min=1, max=10**6, help="After which a visitor's kernel ends.")
    ] = 30,
    visitor_gb: Annotated[float, typer.Option(min=1, help="Memory that a visitor's kernel may take.")] = 4,
    base_url: Annotated[str, typer.Option(help="Path before all addresses, behind a reverse proxy.")] = "/",
    scans: Annotated[
        Path | None,
        typer.Option(help="Folder whose NIfTI and DICOM scans every visitor may open; none if left out."),
    ] = None,
    allowed_host: AllowedHosts = None,
    phantom_network: PhantomNetwork = False,
    output_dir: OutputDir = None,
) -> None:
    """Show the dashboard in a browser: a slice or a volume in, its segmentation out."""
    from metseg.base.address_grammar import skip_address_grammar

    skip_address_grammar()
    from metseg.serve.dashboard.voila_server import serve_dashboard

    models = named_models(model, output_dir, phantom_network=phantom_network)
    say_networks(models, output_dir)
    serve_dashboard(
        models,
        phantom_network=phantom_network,
        host=host,
        port=port,
        token=token,
        max_kernels=visitors,
        preheat=preheat,
        idle_minutes=idle_minutes,
        visitor_gb=visitor_gb,
        base_url=base_url,
        scans=scans,
        allowed_hosts=allowed_host or (),
    )


@app.command()
def serve(
    model: Models = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    token: Token = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="File of tokens, a line 'name: token' each; a line that is deleted is out at once."
        ),
    ] = None,
    allowed_host: AllowedHosts = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Another site whose pages may ask, as https://viewer.example; may be repeated."),
    ] = None,
    root_path: Annotated[
        str, typer.Option(help="What a reverse proxy strips of every path, such as /api.")
    ] = "",
    phantom_network: PhantomNetwork = False,
    output_dir: OutputDir = None,
) -> None:
    """Answer POST /predict/ with masks: the released models as a web service."""
    from metseg.serve.service.server import serve as serve_models

    models = named_models(model, output_dir, phantom_network=phantom_network)
    say_networks(models, output_dir)
    serve_models(
        models,
        host=host,
        port=port,
        workers=workers,
        phantom_network=phantom_network,
        token=token,
        keys=keys,
        allowed_hosts=allowed_host or (),
        allowed_origins=allow_origin or (),
        root_path=root_path,
    )
