"""Resources at an upstream SCIM service provider."""
