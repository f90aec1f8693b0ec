"""`mcp-ilert openapi`: the description of the doors, as a bridge gives it at /openapi.json."""

import click


@click.command()
def openapi() -> None:
    """Print the OpenAPI document of the bridge's doors."""
    import msgspec  # noqa: PLC0415 - what is heavy is imported when it is run

    from mcp_ilert import __version__  # noqa: PLC0415 - likewise
    from mcp_ilert.web.openapi import document  # noqa: PLC0415 - likewise

    click.echo(msgspec.json.format(msgspec.json.encode(document(__version__)), indent=2))


commands: tuple[click.Command, ...] = (openapi,)
