"""From settings to the adapter. A driver would be imported from here on."""

from json_lines.adapter import JsonLinesAdapter
from json_lines.options import Options


def open_adapter(options: Options) -> JsonLinesAdapter:
    """Return an adapter on the file of the options, without touching it. Raises ValueError without one."""
    if options.json_lines_path is None:
        raise ValueError("JSON_LINES_PATH is not set")
    return JsonLinesAdapter(options.json_lines_path.absolute())
