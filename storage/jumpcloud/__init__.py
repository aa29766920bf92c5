"""Resources in JumpCloud: its users and its user groups, through its REST API."""
