"""Filters and PATCH paths (RFC 7644): text, tree, meaning."""

from scim_filter.compiler import FilterCompiler, NotPushable
from scim_filter.evaluate import compile_predicate, matches, select
from scim_filter.parser import parse_filter, parse_path
from scim_filter.render import render
from scim_filter.resolve import resolve, resolve_path
from scim_filter.several import resolve_each

__all__ = [
    "FilterCompiler",
    "NotPushable",
    "compile_predicate",
    "matches",
    "parse_filter",
    "parse_path",
    "render",
    "resolve",
    "resolve_each",
    "resolve_path",
    "select",
]
