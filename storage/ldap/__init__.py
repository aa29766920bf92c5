"""Resources in an LDAP directory, through python-ldap.

The modules in their order; each imports only earlier ones:

1. wire: `wire` (operations on a connection), `server` (connections, errors), `capabilities`;
2. form: `layout` (attributes and classes of entries), `mapping` (standard attributes), `form` (entries as
   resources);
3. find: `find` (by id, DN and filter), `selection` (filters and lists);
4. write: `changes` (values and modifications of an entry), `claims` (unique values), `write`;
5. links: `links` (members and memberships), `deletions` (those that were interrupted);
6. start: `preparation` (the base and its units).
"""
