"""Resources in an LDAP directory, through python-ldap."""
