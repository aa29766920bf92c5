"""Resources in flat files: one JSON file each, with an index beside them."""
