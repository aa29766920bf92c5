"""The upstream SCIM backend under bad and odd upstreams."""
