"""What SCIM data is (RFC 7643): attributes, resource types, values, validation, projection."""
