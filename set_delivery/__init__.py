"""Security Event Tokens (RFC 8417, RFC 9967): what changed, kept until every receiver has it."""
